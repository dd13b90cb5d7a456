//! The registry client: manifest, config and layers over HTTP (OCI distribution specification, docker token authentication).
//!
//! Our own, because the maintained client crates are asynchronous and this needs four requests in a row.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta_core::secret::Secret;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::credentials::Login;
use super::reference::Reference;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Manifests are small; a larger one is an attack or an error page.
const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;

/// How a registry is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistrySettings {
    /// Registries by `host[:port]` that are spoken to by plain HTTP. Loopback ones are always, as for docker.
    pub(crate) insecure: Vec<String>,
    /// PEM text of a private CA.
    pub(crate) ca: Option<String>,
}

/// Why an image can't be had. `is_final` errors stay whatever is tried again.
#[derive(Debug, Error)]
pub(crate) enum RegistryError {
    #[error("manifest for {0} not found: manifest unknown")]
    NotFound(Reference),
    #[error("access to {0} denied: the repository does not exist or needs a login")]
    Denied(Reference),
    #[error("{image} has no variant for {platform}")]
    Platform { image: Reference, platform: String },
    #[error("too many requests to {0}: the registry limits pulls")]
    RateLimited(String),
    #[error("registry answered {status} to GET {url}: {body}")]
    Status { url: String, status: u16, body: String },
    #[error("cannot reach {url}")]
    Network { url: String, source: Box<ureq::Error> },
    #[error("cannot understand {what} from {url}")]
    Format { what: &'static str, url: String, source: serde_json::Error },
    #[error("{0} is not what its digest says")]
    Corrupt(String),
    #[error("cannot use `registry_ca_file`")]
    Ca { source: Box<ureq::Error> },
}

impl RegistryError {
    /// Whether another try cannot help: then the job fails at once, and its author must change something.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Denied(_) | Self::Platform { .. } | Self::Format { .. })
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "check the image's name and tag in .gitlab-ci.yml",
            Self::Denied(_) => {
                "check the image's name; for a private image set the CI/CD variable DOCKER_AUTH_CONFIG or use an image of this GitLab's registry"
            }
            Self::Platform { .. } => {
                "use an image that is built for this machine, or set `image: docker: platform:`"
            }
            Self::RateLimited(_) => "wait, or log in to the registry with DOCKER_AUTH_CONFIG",
            Self::Network { .. } => {
                "the registry is down or not reachable from the compute node; for plain HTTP set `insecure_registries`, for a private CA `registry_ca_file`"
            }
            _ => "try again; if it stays, ask the registry's administrator",
        }
    }
}

/// A connection to one repository.
pub(crate) struct Repository<'a> {
    agent: Agent,
    reference: &'a Reference,
    login: Option<&'a Login>,
    base: String,
    token: Mutex<Option<Secret>>,
}

/// A manifest as found, with the digest of its bytes.
pub(crate) struct Manifest {
    /// `sha256:...`
    pub(crate) digest: String,
    pub(crate) manifest: ImageManifest,
}

impl<'a> Repository<'a> {
    /// No request is sent yet.
    pub(crate) fn new(
        reference: &'a Reference,
        login: Option<&'a Login>,
        settings: &RegistrySettings,
    ) -> Result<Self, RegistryError> {
        let host = match reference.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let plain = settings.insecure.iter().any(|name| name == host) || is_loopback(host);
        let scheme = if plain { "http" } else { "https" };
        Ok(Self {
            agent: agent(settings.ca.as_deref())?,
            reference,
            login,
            base: format!("{scheme}://{host}/v2"),
            token: Mutex::new(None),
        })
    }

    /// Digest of what the reference means now: one HEAD request. For an index this is the index's digest.
    pub(crate) fn digest(&self) -> Result<Option<String>, RegistryError> {
        let url = self.url("manifests", self.reference.version());
        let response = self.send("HEAD", &url, MANIFEST_TYPES)?;
        Ok(response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned))
    }

    /// The image's manifest for `platform` (`linux/amd64`, `linux/arm/v7`).
    pub(crate) fn manifest(&self, platform: &str) -> Result<Manifest, RegistryError> {
        let (digest, text) = self.manifest_text(self.reference.version())?;
        let url = self.url("manifests", self.reference.version());
        let format = |source| RegistryError::Format { what: "the manifest", url: url.clone(), source };
        let kind: ManifestKind = serde_json::from_slice(&text).map_err(format)?;
        if kind.manifests.is_none() {
            return Ok(Manifest { digest, manifest: serde_json::from_slice(&text).map_err(format)? });
        }
        let index: ImageIndex = serde_json::from_slice(&text).map_err(format)?;
        let entry = choose(&index, platform).ok_or_else(|| RegistryError::Platform {
            image: self.reference.clone(),
            platform: platform.to_owned(),
        })?;
        let (digest, text) = self.manifest_text(entry.digest().as_ref())?;
        Ok(Manifest { digest, manifest: serde_json::from_slice(&text).map_err(format)? })
    }

    fn manifest_text(&self, version: &str) -> Result<(String, Vec<u8>), RegistryError> {
        let url = self.url("manifests", version);
        let mut response = self.send("GET", &url, MANIFEST_TYPES)?;
        let text = response
            .body_mut()
            .with_config()
            .limit(LARGEST_MANIFEST)
            .read_to_vec()
            .map_err(|source| RegistryError::Network { url, source: Box::new(source) })?;
        let digest = sha256(&text);
        if version.starts_with("sha256:") && version != digest {
            return Err(RegistryError::Corrupt(format!("{}@{version}", self.reference.repository)));
        }
        Ok((digest, text))
    }

    /// A blob as a stream. The caller checks the digest.
    pub(crate) fn blob(&self, blob: &Descriptor) -> Result<impl Read + use<>, RegistryError> {
        let url = self.url("blobs", blob.digest().as_ref());
        Ok(self.send("GET", &url, "*/*")?.into_body().into_with_config().limit(u64::MAX).reader())
    }

    fn url(&self, kind: &str, version: &str) -> String {
        format!("{}/{}/{kind}/{version}", self.base, self.reference.repository)
    }

    /// Sends a request, once more with a token if the registry asks for one.
    fn send(&self, method: &str, url: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let mut response = self.send_once(method, url, accept)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let challenge = header_text(&response, header::WWW_AUTHENTICATE.as_str());
            self.authenticate(&challenge)?;
            response = self.send_once(method, url, accept)?;
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(self.reference.clone())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(RegistryError::Denied(self.reference.clone()))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(RegistryError::RateLimited(self.reference.registry.clone())),
            status => {
                let body = response.body_mut().with_config().limit(500).read_to_string().unwrap_or_default();
                Err(RegistryError::Status { url: url.to_owned(), status: status.as_u16(), body })
            }
        }
    }

    fn send_once(&self, method: &str, url: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(url).header(header::ACCEPT, accept);
        if let Some(token) = self.token.lock().expect("no holder of the token panics").as_ref() {
            request = request.header(header::AUTHORIZATION, token.reveal());
        }
        let network = |source| RegistryError::Network { url: url.to_owned(), source: Box::new(source) };
        let request = request.body(()).map_err(|source| network(source.into()))?;
        self.agent.run(request).map_err(network)
    }

    /// Answers a `WWW-Authenticate` challenge: basic, or a bearer token from the realm that it names.
    fn authenticate(&self, challenge: &str) -> Result<(), RegistryError> {
        let basic = self.login.map(|login| {
            format!("Basic {}", STANDARD.encode(format!("{}:{}", login.user, login.password.reveal())))
        });
        let authorization = match Challenge::parse(challenge) {
            Some(Challenge::Basic) => basic,
            Some(Challenge::Bearer { realm, service }) => {
                Some(format!("Bearer {}", self.fetch_token(&realm, &service, basic.as_deref())?))
            }
            None => None,
        };
        let authorization = authorization.ok_or_else(|| RegistryError::Denied(self.reference.clone()))?;
        *self.token.lock().expect("no holder of the token panics") = Some(Secret::new(authorization));
        Ok(())
    }

    fn fetch_token(&self, realm: &str, service: &str, basic: Option<&str>) -> Result<String, RegistryError> {
        let network = |source| RegistryError::Network { url: realm.to_owned(), source: Box::new(source) };
        let mut request = self
            .agent
            .get(realm)
            .query("service", service)
            .query("scope", format!("repository:{}:pull", self.reference.repository));
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let mut response = request.call().map_err(network)?;
        if !response.status().is_success() {
            return Err(RegistryError::Denied(self.reference.clone()));
        }
        let text = response.body_mut().read_to_string().map_err(network)?;
        let answer: TokenAnswer = serde_json::from_str(&text).map_err(|source| RegistryError::Format {
            what: "the token",
            url: realm.to_owned(),
            source,
        })?;
        Ok(if answer.token.is_empty() { answer.access_token } else { answer.token })
    }
}

/// The part of a manifest that tells an index from an image.
#[derive(Deserialize)]
struct ManifestKind {
    manifests: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

impl Challenge {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |name: &str| {
            let start = parameters.find(&format!("{name}=\""))? + name.len() + 2;
            Some(parameters[start..start + parameters[start..].find('"')?].to_owned())
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service").unwrap_or_default() })
    }
}

fn choose<'a>(index: &'a ImageIndex, platform: &str) -> Option<&'a Descriptor> {
    let mut parts = platform.split('/');
    let (os, architecture, variant) = (parts.next()?, parts.next()?, parts.next());
    index.manifests().iter().find(|entry| {
        entry.platform().as_ref().is_some_and(|found| {
            found.os().to_string() == os
                && found.architecture().to_string() == architecture
                && variant.is_none_or(|variant| found.variant().as_deref() == Some(variant))
        })
    })
}

fn agent(ca: Option<&str>) -> Result<Agent, RegistryError> {
    let mut tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    if let Some(pem) = ca {
        let mut certificates: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(pem.as_bytes()) {
            if let PemItem::Certificate(certificate) =
                item.map_err(|source| RegistryError::Ca { source: Box::new(source) })?
            {
                certificates.push(certificate);
            }
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    Ok(Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("gitlab-meta-runner/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build()
        .new_agent())
}

fn header_text(response: &Response<Body>, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// `sha256:` and the digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest_text(Sha256::digest(bytes).as_slice())
}

/// `sha256:` and the hexadecimal form of a finished digest.
pub(crate) fn digest_text(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_understood() {
        let bearer =
            r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull""#;
        assert_eq!(
            Challenge::parse(bearer),
            Some(Challenge::Bearer {
                realm: "https://auth.example.com/token".to_owned(),
                service: "registry".to_owned()
            })
        );
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn loopback_registries_speak_plain_http() {
        assert!(is_loopback("127.0.0.1:5000") && is_loopback("localhost:5000"));
        assert!(!is_loopback("registry.example.com") && !is_loopback("10.0.0.1:5000"));
    }
}
