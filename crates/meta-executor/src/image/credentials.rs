//! Registry credentials: where gitlab-runner's docker executor takes them from, and which of them fit an image.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta_core::secret::Secret;
use serde::Deserialize;

use super::reference::Reference;

/// User name and password for one registry path.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// For the job log: which of the sources it came from.
    pub(crate) source: String,
}

/// Logins by registry path (`host[:port][/group...]`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    logins: BTreeMap<String, Login>,
    /// Sources that could not be read, for a warning in the job log.
    pub(crate) warnings: Vec<String>,
}

/// A docker `config.json`. Credential helpers are not run: a job must not choose programs that run on the host.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize, Default)]
struct DockerAuth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Adds the logins of a docker `config.json`. Those that are already there win: sources are added best first.
    pub(crate) fn add_docker_config(&mut self, text: &str, source: &str) {
        let config: DockerConfig = match serde_json::from_str(text) {
            Ok(config) => config,
            Err(error) => {
                self.warnings.push(format!(
                    "Failed to resolve credentials from {source}: {error}. Credentials from this source will not be used."
                ));
                return;
            }
        };
        for (path, auth) in config.auths {
            if let Some((user, password)) = auth.login() {
                self.add(&path, user, password, source);
            }
        }
    }

    /// Adds one login unless the path has one.
    pub(crate) fn add(&mut self, path: &str, user: String, password: String, source: &str) {
        let login = Login { user, password: Secret::new(password), source: source.to_owned() };
        self.logins.entry(normalised(path)).or_insert(login);
    }

    /// The login for an image: the deepest path that it lies below.
    pub(crate) fn find(&self, image: &Reference) -> Option<&Login> {
        let path = image.credentials_path();
        let mut candidate = path.as_str();
        loop {
            if let Some(login) = self.logins.get(candidate) {
                return Some(login);
            }
            candidate = &candidate[..candidate.rfind('/')?];
        }
    }
}

impl DockerAuth {
    fn login(self) -> Option<(String, String)> {
        if let (Some(user), Some(password)) = (self.username, self.password) {
            return Some((user, password));
        }
        let decoded = STANDARD.decode(self.auth?.trim()).ok()?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
    }
}

/// The key under which a path is kept. With a scheme only the host counts, as for docker (`https://index.docker.io/v1/`).
fn normalised(path: &str) -> String {
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => path.trim_end_matches('/'),
    };
    let (host, rest) = match path.split_once('/') {
        Some((host, rest)) => (host, Some(rest)),
        None => (path, None),
    };
    let host = host.to_lowercase();
    let host = if host == "index.docker.io" { "docker.io".to_owned() } else { host };
    rest.map_or_else(|| host.clone(), |rest| format!("{host}/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_for(credentials: &Credentials, image: &str) -> Option<String> {
        credentials.find(&Reference::parse(image).expect("a good name")).map(|login| login.user.clone())
    }

    #[test]
    fn the_deepest_path_wins_and_the_first_source_of_a_path() {
        let mut credentials = Credentials::default();
        // dTE6cA== is u1:p
        credentials.add_docker_config(
            r#"{"auths":{"reg.io":{"auth":"dTE6cA=="},"https://index.docker.io/v1/":{"username":"hub","password":"x"}}}"#,
            "$DOCKER_AUTH_CONFIG",
        );
        credentials.add("reg.io", "second".to_owned(), "p".to_owned(), "job payload");
        credentials.add("reg.io/group", "deep".to_owned(), "p".to_owned(), "job payload");
        assert_eq!(user_for(&credentials, "reg.io/a/b"), Some("u1".to_owned()));
        assert_eq!(user_for(&credentials, "reg.io/group/b:1"), Some("deep".to_owned()));
        assert_eq!(user_for(&credentials, "reg.io/groups/b:1"), Some("u1".to_owned()));
        assert_eq!(user_for(&credentials, "ubuntu"), Some("hub".to_owned()));
        assert_eq!(user_for(&credentials, "other.io/a"), None);
    }

    #[test]
    fn a_bad_source_is_a_warning_without_its_text() {
        let mut credentials = Credentials::default();
        credentials.add_docker_config("secret, not JSON", "$DOCKER_AUTH_CONFIG");
        assert_eq!(credentials.warnings.len(), 1);
        assert!(!credentials.warnings[0].contains("secret"), "{:?}", credentials.warnings);
    }
}
