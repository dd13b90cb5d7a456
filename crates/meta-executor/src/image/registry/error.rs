//! Why an image can't be had from its registry, in words that users of docker search for.

use thiserror::Error;

use super::super::platform::Platform;
use super::super::reference::Reference;
use crate::named_by::NamedBy;

/// A request to a registry that failed, or an answer that is of no use.
#[derive(Debug, Error)]
pub(crate) enum RegistryError {
    #[error("manifest for {0} not found: manifest unknown")]
    NotFound(Reference),
    #[error(
        "pull access denied for {0}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    )]
    Denied(Reference),
    #[error("unauthorized: {image} is refused with the credentials from {source_name}")]
    WrongLogin { image: Reference, source_name: String },
    #[error("no matching manifest for {platform} in the manifest list entries of {image}")]
    Platform { image: Reference, platform: Platform },
    #[error(
        "image with reference {image} was found but does not match the specified platform: wanted {wanted}, actual: {found}"
    )]
    OtherPlatform { image: Reference, wanted: Platform, found: Platform },
    #[error("{image} is no image that can be run: {reason}")]
    NoImage { image: Reference, reason: String },
    #[error("toomanyrequests: the registry {0} limits pulls")]
    RateLimited(String),
    #[error("registry answered {status} to {method} {url}: {body}")]
    Status { method: &'static str, url: String, status: u16, body: String },
    #[error("cannot reach {url}")]
    Network { url: String, source: Box<ureq::Error> },
    #[error("the connection broke or stalled while {url} was read")]
    Interrupted { url: String, source: std::io::Error },
    #[error("cannot understand {what} from {url}")]
    Format { what: &'static str, url: String, source: serde_json::Error },
    #[error("{0} is not what its digest says")]
    Corrupt(String),
    #[error("cannot use `registry_ca_file`")]
    Trust(#[source] meta_host::trust::TrustError),
}

impl RegistryError {
    /// Whether another try cannot help: then the job fails at once, and its author must change something.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_)
                | Self::Denied(_)
                | Self::WrongLogin { .. }
                | Self::Platform { .. }
                | Self::OtherPlatform { .. }
                | Self::NoImage { .. }
                | Self::Format { .. }
        )
    }

    /// Whether the same request may well succeed in a few seconds (gitlab-runner: `ClassifyImagePullFailure`; beside its
    /// network errors a registry that restarts).
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Network { source, .. } => !is_certificate_error(source),
            Self::Interrupted { .. } => true,
            Self::Status { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What to do about it, for who named the image.
    pub(crate) fn hint(&self, named_by: NamedBy) -> String {
        let place = named_by.place();
        let hint = match self {
            Self::NotFound(_) => return format!("check the image's name and tag in {place}"),
            Self::Denied(_) => {
                return format!(
                    "check the image's name in {place}; for a private image set the CI/CD variable DOCKER_AUTH_CONFIG or use an image of this GitLab's registry"
                );
            }
            Self::WrongLogin { .. } => {
                "check user name and password there, and that the account may read the image"
            }
            Self::Platform { .. } | Self::OtherPlatform { .. } if named_by == NamedBy::Job => {
                "use an image that is built for this machine, or set `image: docker: platform:` to one that the image has"
            }
            Self::Platform { .. } | Self::OtherPlatform { .. } => {
                return format!("name an image that is built for this machine in {place}");
            }
            Self::NoImage { .. } => {
                return format!(
                    "name a container image in {place}; charts, signatures and other artifacts are none"
                );
            }
            Self::RateLimited(_) => "wait, or log in to the registry with DOCKER_AUTH_CONFIG",
            Self::Network { source, .. } if is_certificate_error(source) => {
                "the registry's certificate is not trusted here: set `registry_ca_file` in `[executor]` to the authority's PEM file"
            }
            Self::Network { .. } => {
                "the registry is down or not reachable from the compute node; for plain HTTP set `insecure_registries`, for a private CA `registry_ca_file`"
            }
            Self::Trust(_) => {
                "set `registry_ca_file` in `[executor]` to a PEM file with the certificates of the authority"
            }
            _ => "try again; if it stays, ask the registry's administrator",
        };
        hint.to_owned()
    }
}

/// An answer about certificates will be the same in a few seconds.
fn is_certificate_error(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::Io(source) => source.to_string().contains("certificate"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_send_the_reader_to_where_the_name_stands() {
        let image = || Reference::parse("reg.io/a:1").unwrap();
        let no_image = RegistryError::NoImage { image: image(), reason: String::new() };
        for error in [RegistryError::NotFound(image()), RegistryError::Denied(image()), no_image] {
            for (named_by, place) in [
                (NamedBy::Job, "`image:` in .gitlab-ci.yml"),
                (NamedBy::JobService, "`services:` in .gitlab-ci.yml"),
                (NamedBy::DefaultImage, "`image` in `[executor]`"),
                (NamedBy::ConfiguredService, "`services` in `[executor]`"),
                (NamedBy::HelperImage, "`helper_image` in `[executor]`"),
            ] {
                let hint = error.hint(named_by);
                let is_the_jobs = matches!(named_by, NamedBy::Job | NamedBy::JobService);
                assert!(hint.contains(place), "{hint}");
                assert_eq!(hint.contains("the administrator's"), !is_the_jobs, "{hint}");
                assert_eq!(hint.contains(".gitlab-ci.yml"), is_the_jobs, "{hint}");
            }
        }
    }
}
