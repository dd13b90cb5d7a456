//! Tokens that must not reach a log.

use std::fmt;

/// A secret string. It has no `Display`, and its `Debug` prints `<redacted>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the request or the file that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What stands in the place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Whether the value of a key or variable is a secret by its name: `token`, `SecretKey`, `DB_PASSWORD`, but not
/// `management_token_file`, which is a path.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let secret = ["token", "secret", "password", "passwd", "credential", "auth_config"];
    let path = ["_file", "_path", "_dir", "credentialsfile"];
    !path.iter().any(|end| key.ends_with(end))
        && (key.ends_with("key") || secret.iter().any(|word| key.contains(word)))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_telling_names() {
        for key in
            ["token", "management_token", "SecretKey", "DB_PASSWORD", "access-key", "DOCKER_AUTH_CONFIG"]
        {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["management_token_file", "tls-key-file", "CredentialsFile", "executor", "keep_alive"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("glpat-1");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "<redacted> Some(<redacted>)");
        assert_eq!(secret.reveal(), "glpat-1");
    }
}
