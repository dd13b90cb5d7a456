//! The registry client: manifest, config and layers over HTTP (OCI distribution specification, docker token authentication).
//!
//! Our own, because the maintained client crates are asynchronous and this needs four requests in a row.

mod challenge;
mod connect;
mod error;

use std::io::Read;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta_core::secret::Secret;
use oci_spec::image::{Descriptor, DigestAlgorithm, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use self::challenge::Challenge;
pub(crate) use self::connect::RegistrySettings;
pub(crate) use self::error::RegistryError;
use super::credentials::Login;
use super::platform::Platform;
use super::reference::Reference;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Manifests are small; a larger one is an attack or an error page.
const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;

/// An index may point to an index; nobody goes deeper.
const DEEPEST_INDEX: usize = 3;

/// A connection to one repository, for several threads.
pub(crate) struct Repository<'a> {
    agent: Agent,
    reference: &'a Reference,
    login: Option<&'a Login>,
    base: String,
    authorization: Mutex<Option<Secret>>,
}

/// A manifest as found.
pub(crate) struct Manifest {
    /// `sha256:...` of its bytes.
    pub(crate) digest: String,
    pub(crate) text: Vec<u8>,
    pub(crate) manifest: ImageManifest,
    /// `sha256:...` of what the reference named: the index's for an image of several platforms, else the manifest's.
    pub(crate) named_digest: String,
    /// Whether an index said for which platform it is.
    pub(crate) platform_known: bool,
}

impl Manifest {
    pub(crate) fn media_type(&self) -> String {
        self.manifest.media_type().as_ref().unwrap_or(&MediaType::ImageManifest).to_string()
    }
}

impl<'a> Repository<'a> {
    /// No request is sent yet.
    pub(crate) fn new(
        reference: &'a Reference,
        login: Option<&'a Login>,
        settings: &RegistrySettings,
    ) -> Result<Self, RegistryError> {
        Ok(Self {
            agent: settings.agent()?,
            reference,
            login,
            base: format!("{}/v2", settings.base(&reference.registry)),
            authorization: Mutex::new(None),
        })
    }

    /// Digest of what the reference means now: one HEAD request. For an index this is the index's digest.
    /// `None` where the registry does not say.
    pub(crate) fn digest(&self) -> Result<Option<String>, RegistryError> {
        let url = self.url("manifests", self.reference.version());
        let response = self.send("HEAD", &url, MANIFEST_TYPES)?;
        Ok(response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned))
    }

    /// The image's manifest for `platform`.
    pub(crate) fn manifest(&self, platform: &Platform) -> Result<Manifest, RegistryError> {
        let mut version = self.reference.version().to_owned();
        let mut named_digest = None;
        let mut platform_known = false;
        for _ in 0..DEEPEST_INDEX {
            let (digest, text) = self.manifest_text(&version)?;
            let named_digest = &*named_digest.get_or_insert_with(|| digest.clone());
            let kind: ManifestKind = self.understood(&version, &text)?;
            if kind.manifests.is_none() {
                kind.check(self.reference)?;
                let manifest: ImageManifest = self.understood(&version, &text)?;
                self.check_digests(&manifest)?;
                return Ok(Manifest {
                    manifest,
                    named_digest: named_digest.clone(),
                    digest,
                    text,
                    platform_known,
                });
            }
            let index: ImageIndex = self.understood(&version, &text)?;
            let entry = platform.choose(&index).ok_or_else(|| RegistryError::Platform {
                image: self.reference.clone(),
                platform: platform.clone(),
            })?;
            platform_known = entry.platform().is_some();
            version = entry.digest().to_string();
        }
        Err(self.no_image("its index leads to further indexes"))
    }

    /// The store names files by SHA-256, as every registry does that we know.
    fn check_digests(&self, manifest: &ImageManifest) -> Result<(), RegistryError> {
        let mut parts = manifest.layers().iter().chain([manifest.config()]).map(Descriptor::digest);
        match parts.find(|digest| *digest.algorithm() != DigestAlgorithm::Sha256) {
            Some(digest) => Err(self.no_image(format!("its part {digest} is not named by SHA-256"))),
            None => Ok(()),
        }
    }

    /// An error for what is in the registry and can't be run.
    pub(crate) fn no_image(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::NoImage { image: self.reference.clone(), reason: reason.into() }
    }

    /// The same for an image of another platform than the job wants.
    pub(crate) fn other_platform(&self, wanted: &Platform, found: Platform) -> RegistryError {
        RegistryError::OtherPlatform { image: self.reference.clone(), wanted: wanted.clone(), found }
    }

    fn understood<T: for<'de> Deserialize<'de>>(
        &self,
        version: &str,
        text: &[u8],
    ) -> Result<T, RegistryError> {
        serde_json::from_slice(text).map_err(|source| RegistryError::Format {
            what: "the manifest",
            url: self.url("manifests", version),
            source,
        })
    }

    fn manifest_text(&self, version: &str) -> Result<(String, Vec<u8>), RegistryError> {
        let url = self.url("manifests", version);
        let mut response = self.send("GET", &url, MANIFEST_TYPES)?;
        let text =
            response.body_mut().with_config().limit(LARGEST_MANIFEST).read_to_vec().map_err(|source| {
                match source {
                    ureq::Error::BodyExceedsLimit(limit) => {
                        self.no_image(format!("its manifest has more than {limit} bytes"))
                    }
                    source => RegistryError::Network { url, source: Box::new(source) },
                }
            })?;
        let digest = sha256(&text);
        if version.starts_with("sha256:") && version != digest {
            return Err(RegistryError::Corrupt(format!("{}@{version}", self.reference.repository)));
        }
        Ok((digest, text))
    }

    /// A blob as a stream. The caller checks the digest.
    pub(crate) fn blob(&self, blob: &Descriptor) -> Result<impl Read + use<>, RegistryError> {
        let url = self.blob_url(blob);
        let digest = blob.digest();
        let response = self.send("GET", &url, "*/*").map_err(|error| match error {
            RegistryError::NotFound(_) => {
                self.no_image(format!("the registry does not have its part {digest}"))
            }
            error => error,
        })?;
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Where a blob is, for messages.
    pub(crate) fn blob_url(&self, blob: &Descriptor) -> String {
        self.url("blobs", blob.digest().as_ref())
    }

    fn url(&self, kind: &str, version: &str) -> String {
        format!("{}/{}/{kind}/{version}", self.base, self.reference.repository)
    }

    /// Sends a request, once more with a login or a token if the registry asks for one.
    fn send(&self, method: &'static str, url: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let mut response = self.send_once(method, url, accept)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.authenticate(&response)?;
            response = self.send_once(method, url, accept)?;
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(self.reference.clone())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied()),
            StatusCode::TOO_MANY_REQUESTS => Err(RegistryError::RateLimited(self.reference.registry.clone())),
            _ => Err(status_error(method, url, &mut response)),
        }
    }

    fn send_once(&self, method: &str, url: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(url).header(header::ACCEPT, accept);
        if let Some(authorization) = self.lock_authorization().as_ref() {
            request = request.header(header::AUTHORIZATION, authorization.reveal());
        }
        let network = |source| RegistryError::Network { url: url.to_owned(), source: Box::new(source) };
        let request = request.body(()).map_err(|source| network(source.into()))?;
        self.agent.run(request).map_err(network)
    }

    fn lock_authorization(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.authorization.lock().expect("no holder of the lock panics")
    }

    fn denied(&self) -> RegistryError {
        let image = self.reference.clone();
        match self.login {
            Some(login) => RegistryError::WrongLogin { image, source_name: login.source.clone() },
            None => RegistryError::Denied(image),
        }
    }

    /// Answers a `WWW-Authenticate` challenge: basic, or a bearer token from the realm that it names.
    fn authenticate(&self, refusal: &Response<Body>) -> Result<(), RegistryError> {
        let basic = self.login.map(|login| {
            format!("Basic {}", STANDARD.encode(format!("{}:{}", login.user, login.password.reveal())))
        });
        let challenges = refusal.headers().get_all(header::WWW_AUTHENTICATE);
        let challenges = challenges.iter().filter_map(|line| line.to_str().ok());
        let authorization = match Challenge::choose(challenges, basic.is_some()) {
            Some(Challenge::Basic) => basic.ok_or_else(|| self.denied())?,
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.fetch_token(&realm, service.as_deref(), scope, basic.as_deref())?;
                format!("Bearer {token}")
            }
            None => return Err(self.denied()),
        };
        *self.lock_authorization() = Some(Secret::new(authorization));
        Ok(())
    }

    fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<String>,
        basic: Option<&str>,
    ) -> Result<String, RegistryError> {
        let network = |source| RegistryError::Network { url: realm.to_owned(), source: Box::new(source) };
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        let mut request = self.agent.get(realm).query("scope", scope);
        if let Some(service) = service {
            request = request.query("service", service);
        }
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let mut response = request.call().map_err(network)?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(RegistryError::RateLimited(self.reference.registry.clone()));
            }
            status if status.is_server_error() => return Err(status_error("GET", realm, &mut response)),
            _ => return Err(self.denied()),
        }
        let text = response.body_mut().read_to_string().map_err(network)?;
        let answer: TokenAnswer = serde_json::from_str(&text).map_err(|source| RegistryError::Format {
            what: "the token",
            url: realm.to_owned(),
            source,
        })?;
        answer.token().ok_or_else(|| self.denied())
    }
}

fn status_error(method: &'static str, url: &str, response: &mut Response<Body>) -> RegistryError {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(500).read_to_string().unwrap_or_default();
    RegistryError::Status { method, url: url.to_owned(), status, body: body.trim().to_owned() }
}

/// The part of a manifest that tells what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestKind {
    #[serde(default)]
    schema_version: u32,
    manifests: Option<serde_json::Value>,
    config: Option<ConfigKind>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigKind {
    #[serde(default)]
    media_type: String,
}

const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

impl ManifestKind {
    /// Whether it is an image's, and not that of a chart or signature, or of a docker before 2017.
    fn check(&self, image: &Reference) -> Result<(), RegistryError> {
        let refused = |reason: String| RegistryError::NoImage { image: image.clone(), reason };
        match &self.config {
            _ if self.schema_version == 1 => {
                Err(refused("its manifest has schema version 1, which docker refuses, too".to_owned()))
            }
            None => Err(refused("its manifest names no configuration".to_owned())),
            Some(config) if CONFIG_TYPES.contains(&config.media_type.as_str()) => Ok(()),
            Some(config) => Err(refused(format!("it is an artifact of type `{}`", config.media_type))),
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl TokenAnswer {
    /// Servers name it in one way, in the other, or in both.
    fn token(self) -> Option<String> {
        [self.token, self.access_token].into_iter().flatten().find(|token| !token.is_empty())
    }
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
    fn a_token_has_one_of_two_names() {
        let token = |text: &str| serde_json::from_str::<TokenAnswer>(text).expect("JSON").token();
        for (text, expected) in [
            (r#"{"token": "a"}"#, Some("a")),
            (r#"{"access_token": "b", "token": null}"#, Some("b")),
            (r#"{"access_token": "b", "token": ""}"#, Some("b")),
            (r#"{"token": "a", "access_token": "b"}"#, Some("a")),
            (r#"{"expires_in": 60}"#, None),
        ] {
            assert_eq!(token(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_image_says_so() {
        let reason = |text: &str| {
            let kind: ManifestKind = serde_json::from_str(text).expect("JSON");
            let image = Reference::parse("reg.io/a:1").expect("a name");
            kind.check(&image).err().map(|error| error.to_string())
        };
        assert_eq!(
            reason(
                r#"{"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}"#
            ),
            None
        );
        assert_eq!(
            reason(r#"{"schemaVersion": 2, "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}"#),
            Some(
                "reg.io/a:1 is no image that can be run: it is an artifact of type `application/vnd.cncf.helm.config.v1+json`"
                    .to_owned()
            )
        );
        assert!(reason(r#"{"schemaVersion": 1}"#).is_some_and(|text| text.contains("schema version 1")));
        assert!(reason(r#"{"schemaVersion": 2}"#).is_some_and(|text| text.contains("no configuration")));
    }
}
