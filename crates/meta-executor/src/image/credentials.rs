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

/// A docker `config.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct DockerAuth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Adds the logins of a docker `config.json`. Those that are already there win: sources are added best first.
    ///
    /// Credential helpers are not run: a job must not choose programs that run on the host, and those of the account's own
    /// file ask a keyring or a person, whom a batch job does not have.
    pub(crate) fn add_docker_config(&mut self, text: &str, source: &str) {
        match serde_json::from_str::<DockerConfig>(text) {
            Ok(config) => self.add_config(config, source),
            Err(error) => self.add_bad_source(source, &place_of(&error)),
        }
    }

    /// Adds the logins of the old `~/.dockercfg`, which has what `auths` has in a `config.json`.
    pub(crate) fn add_old_docker_config(&mut self, text: &str, source: &str) {
        match serde_json::from_str(text) {
            Ok(auths) => self.add_auths(auths, source),
            Err(error) => self.add_bad_source(source, &place_of(&error)),
        }
    }

    /// Notes that a source is of no use, in docker's words.
    pub(crate) fn add_bad_source(&mut self, source: &str, error: &str) {
        self.warnings.push(format!(
            "Failed to resolve credentials from {source}: {error}. Credentials from this source will not be used."
        ));
    }

    fn add_config(&mut self, config: DockerConfig, source: &str) {
        let mut helpers: Vec<&String> = config.cred_helpers.values().collect();
        helpers.extend(config.creds_store.as_ref().filter(|store| !store.is_empty()));
        helpers.sort();
        helpers.dedup();
        if !helpers.is_empty() {
            let names: Vec<String> = helpers.iter().map(|name| format!("`{name}`")).collect();
            self.warnings.push(format!(
                "Credential helpers are not run on this runner: {} of {source}. Write the login itself into `auths`.",
                names.join(", ")
            ));
        }
        self.add_auths(config.auths, source);
    }

    fn add_auths(&mut self, auths: BTreeMap<String, DockerAuth>, source: &str) {
        for (path, auth) in auths {
            match auth.login() {
                Ok(Some((user, password))) => self.add(&path, user, password, source),
                // A helper has it.
                Ok(None) => {}
                Err(BadAuth) => {
                    self.warnings.push(format!(
                        "The login for {path} in {source} will not be used: `auth` is not the base64 form of `user:password`."
                    ));
                }
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

/// Where a text is wrong. Never what stands there: it may be a password.
fn place_of(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "a value of the wrong type" } else { "no JSON" };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// An `auth` that is none. It may be a password in clear, so it is not shown.
struct BadAuth;

impl DockerAuth {
    fn login(self) -> Result<Option<(String, String)>, BadAuth> {
        let Some(encoded) = self.auth.filter(|auth| !auth.trim().is_empty()) else {
            return Ok(self.username.zip(self.password));
        };
        let decoded = STANDARD.decode(encoded.trim()).map_err(|_| BadAuth)?;
        let decoded = std::str::from_utf8(&decoded).map_err(|_| BadAuth)?;
        let (user, password) = decoded.split_once(':').ok_or(BadAuth)?;
        Ok(Some((user.to_owned(), password.trim_matches('\0').to_owned())))
    }
}

/// The key under which a path is kept. With a scheme only the host counts, as for docker (`https://index.docker.io/v1/`).
fn normalised(path: &str) -> String {
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => path.trim_end_matches('/'),
    };
    let (host, rest) = match path.split_once('/') {
        // A tag is no part of a path; a colon in the host is its port.
        Some((host, rest)) => (host, Some(rest.split(':').next().unwrap_or(rest))),
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
    fn keys_are_written_in_many_ways() {
        for (key, kept) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("http://Registry.Example.com:5000/v2/", "registry.example.com:5000"),
            ("Registry.Example.com:5000/Group/App/", "registry.example.com:5000/Group/App"),
            ("registry.example.com/group/app:1.2", "registry.example.com/group/app"),
            ("localhost:5000", "localhost:5000"),
        ] {
            assert_eq!(normalised(key), kept, "{key}");
        }
    }

    #[test]
    fn a_digest_does_not_hide_the_repository_from_its_key() {
        let mut credentials = Credentials::default();
        credentials.add("reg.io/group/app", "deep".to_owned(), "p".to_owned(), "test");
        let image = format!("reg.io/group/app:1@sha256:{}", "0".repeat(64));
        assert_eq!(user_for(&credentials, &image), Some("deep".to_owned()));
    }

    #[test]
    fn passwords_may_hold_colons_and_auth_beats_the_pair() {
        let mut credentials = Credentials::default();
        // dTpwOnE= is u:p:q
        let config = r#"{"auths":{"reg.io":{"auth":"dTpwOnE=","username":"other","password":"x"}}}"#;
        credentials.add_docker_config(config, "test");
        let image = Reference::parse("reg.io/a").expect("a good name");
        let login = credentials.find(&image).expect("a login");
        assert_eq!((login.user.as_str(), login.password.reveal()), ("u", "p:q"));
    }

    #[test]
    fn helpers_are_named_and_not_run() {
        let mut credentials = Credentials::default();
        let config =
            r#"{"auths":{"reg.io":{}},"credsStore":"pass","credHelpers":{"a.io":"../evil","b.io":"pass"}}"#;
        credentials.add_docker_config(config, "$DOCKER_AUTH_CONFIG");
        assert_eq!(
            credentials.warnings,
            [
                "Credential helpers are not run on this runner: `../evil`, `pass` of $DOCKER_AUTH_CONFIG. Write the login itself into `auths`."
            ]
        );
        assert_eq!(user_for(&credentials, "reg.io/a"), None);
    }

    #[test]
    fn the_old_file_has_logins_only() {
        let mut credentials = Credentials::default();
        credentials.add_old_docker_config(r#"{"reg.io":{"auth":"dTE6cA=="}}"#, "~/.dockercfg");
        assert_eq!(user_for(&credentials, "reg.io/a/b"), Some("u1".to_owned()));
    }

    #[test]
    fn a_bad_source_is_a_warning_without_its_text() {
        let mut credentials = Credentials::default();
        credentials.add_docker_config("secret, not JSON", "$DOCKER_AUTH_CONFIG");
        credentials
            .add_docker_config(r#"{"auths":{"reg.io":{"auth":"secret in clear"}}}"#, "$DOCKER_AUTH_CONFIG");
        credentials.add_docker_config(r#"{"auths":"secret"}"#, "$DOCKER_AUTH_CONFIG");
        assert_eq!(credentials.warnings.len(), 3, "{:?}", credentials.warnings);
        for warning in &credentials.warnings {
            assert!(!warning.contains("secret"), "{warning}");
        }
    }
}
