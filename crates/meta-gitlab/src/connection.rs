//! How requests leave the machine: proxies, certificates, time limits.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta_host::trust::{self, TrustError};
use meta_host::{Failure, exit};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use crate::parallel::PARALLEL;

/// The proxy variables of the environment, as curl understands them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `https://`: `https_proxy`, `HTTPS_PROXY`, then `all_proxy`, `ALL_PROXY`.
    https: Option<String>,
    /// For `http://`: `http_proxy`, then `all_proxy`, `ALL_PROXY`. `HTTP_PROXY` is left alone, as in curl: CGI sets it
    /// from a request's header.
    http: Option<String>,
    /// `no_proxy`, `NO_PROXY`: hosts, separated by commas.
    except: Vec<String>,
}

impl Proxies {
    /// Picks the proxy variables out of an environment.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variables.get(*name).filter(|value| !value.is_empty()).cloned())
        };
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            except: first(&["no_proxy", "NO_PROXY"])
                .iter()
                .flat_map(|list| list.split(','))
                .map(|host| host.trim().to_owned())
                .filter(|host| !host.is_empty())
                .collect(),
        }
    }

    fn for_url(&self, url: &str) -> Result<Option<Proxy>, ConnectionError> {
        let Some(address) = (if url.starts_with("https:") { &self.https } else { &self.http }) else {
            return Ok(None);
        };
        let given = Proxy::new(address).map_err(ConnectionError::Proxy)?;
        let mut builder = Proxy::builder(given.protocol()).host(given.host()).port(given.port());
        if let Some(name) = given.username() {
            builder = builder.username(name);
        }
        if let Some(password) = given.password() {
            builder = builder.password(password);
        }
        for host in &self.except {
            builder = builder.no_proxy(host);
        }
        builder.build().map(Some).map_err(ConnectionError::Proxy)
    }
}

/// Leaves the values out: a proxy's address may hold a password.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies").field("except", &self.except).finish_non_exhaustive()
    }
}

/// The connection to GitLab cannot be set up with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("cannot read `ca_file` `{}`", path.display())]
    ReadCertificates {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use `ca_file` `{}`", path.display())]
    Trust {
        path: PathBuf,
        #[source]
        source: TrustError,
    },
    // The source would repeat the address, which may hold a password.
    #[error("the proxy address in the environment is not a URL")]
    Proxy(ureq::Error),
}

impl Failure for ConnectionError {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ReadCertificates { .. } | Self::Trust { .. } => {
                "name a PEM file with the certificates of the authority that signed GitLab's".to_owned()
            }
            Self::Proxy(_) => "write `http://HOST:PORT` in `https_proxy` or `http_proxy`".to_owned(),
        })
    }
}

/// An agent for one GitLab server.
pub(crate) fn connect(
    url: &str,
    ca_file: Option<&Path>,
    proxies: &Proxies,
    timeout: Duration,
) -> Result<Agent, ConnectionError> {
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots(ca_file)?).build())
        .proxy(proxies.for_url(url)?)
        .user_agent(concat!("gitlab-meta-runner/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(timeout))
        .timeout_connect(Some(timeout.min(Duration::from_secs(15))))
        // Without it threads that read side by side would shake hands anew for most of their requests.
        .max_idle_connections_per_host(PARALLEL)
        .http_status_as_error(false)
        // A redirect would carry our token to whatever host it names.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build();
    Ok(config.new_agent())
}

fn roots(ca_file: Option<&Path>) -> Result<RootCerts, ConnectionError> {
    let Some(path) = ca_file else { return Ok(RootCerts::PlatformVerifier) };
    let pem = fs::read(path)
        .map_err(|source| ConnectionError::ReadCertificates { path: path.to_owned(), source })?;
    trust::roots(Some(&pem)).map_err(|source| ConnectionError::Trust { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(&variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn the_scheme_chooses_the_proxy() {
        let both =
            proxies(&[("HTTPS_PROXY", "http://secure:1"), ("http_proxy", "plain:2"), ("HTTP_PROXY", "x:3")]);
        let host = |url| both.for_url(url).unwrap().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        assert_eq!(host("https://gitlab"), Some("secure:1".to_owned()));
        assert_eq!(host("http://gitlab"), Some("plain:2".to_owned()));
        assert!(proxies(&[("https_proxy", "")]).for_url("https://gitlab").unwrap().is_none());
    }

    #[test]
    fn credentials_and_exceptions_are_kept() {
        let proxies =
            proxies(&[("all_proxy", "http://me:p%40ss@proxy:8080"), ("no_proxy", "localhost, .example.com")]);
        let proxy = proxies.for_url("https://gitlab").unwrap().unwrap();
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("p@ss")));
        let direct = |uri: &'static str| proxy.is_no_proxy(&ureq::http::Uri::from_static(uri));
        assert!(
            direct("https://gitlab.example.com")
                && direct("http://localhost")
                && !direct("https://gitlab.org")
        );
        assert!(!format!("{proxies:?}").contains("p%40ss"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = Some(file.path());
        let connected = connect("https://x", path, &Proxies::default(), Duration::from_secs(1));
        let expected = format!("cannot use `ca_file` `{}`", file.path().display());
        assert_eq!(connected.unwrap_err().to_string(), expected);
    }
}
