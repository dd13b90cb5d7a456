//! The client that a configuration asks for.

use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use meta_core::config::Config;
use meta_core::secret::Secret;
use meta_core::source::Problems;
use meta_core::template::Template;
use meta_core::variables::Variables;
use meta_host::exit::report_chain;
use meta_host::files::{FileError, read_private};
use meta_host::{Environment, Failure, exit};

use crate::{Client, ClientSettings, ConnectionError, Proxies};

/// The environment variable that may hold the management token.
pub const TOKEN_VARIABLE: &str = "META_RUNNER_MANAGEMENT_TOKEN";

/// What the example has in the place of a token.
const PLACEHOLDER: &str = "enter-your-token-here";

/// Long enough for a page of jobs from a busy server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Connects as the configuration says. Nothing is sent yet.
pub fn connect(config: &Config, environment: &Environment) -> Result<Client, SessionError> {
    let settings = ClientSettings {
        url: config.url.clone(),
        token: management_token(config, environment)?,
        ca_file: config.ca_file.as_ref().map(|path| expand(path, config, environment)).transpose()?,
        proxies: Proxies::from_variables(&environment.variables),
        timeout: TIMEOUT,
    };
    Client::new(settings, thread::sleep).map_err(SessionError::Connection)
}

/// There is no client for this configuration.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("there is no management token")]
    NoToken,
    #[error("there is no usable management token")]
    TokenFile(#[source] FileError),
    #[error("the management token {0} is not a token: it has characters that no token has")]
    BadToken(TokenOrigin),
    #[error("a path in the configuration cannot be expanded")]
    Expand(#[source] Problems),
    #[error("cannot set up the connection to GitLab")]
    Connection(#[source] ConnectionError),
}

impl Failure for SessionError {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoToken => Some(format!(
                "set `management_token` or `management_token_file` in the configuration, or {TOKEN_VARIABLE} in the environment"
            )),
            Self::TokenFile(error) => error.hint(),
            Self::BadToken(_) => Some("write the token alone, as GitLab showed it: `glpat-...`".to_owned()),
            Self::Connection(error) => error.hint(),
            Self::Expand(_) => None,
        }
    }

    fn report(&self) -> String {
        match self {
            Self::Expand(problems) => problems.report(),
            _ => report_chain(self),
        }
    }
}

/// Where the management token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenOrigin {
    /// `management_token`.
    Key,
    /// [`TOKEN_VARIABLE`].
    Environment,
    /// `management_token_file`.
    File(PathBuf),
}

impl fmt::Display for TokenOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("in `management_token`"),
            Self::Environment => write!(f, "in {TOKEN_VARIABLE}"),
            Self::File(path) => write!(f, "in `{}`", path.display()),
        }
    }
}

/// The environment, then the key, then the file (contracts, section 2).
fn management_token(config: &Config, environment: &Environment) -> Result<Secret, SessionError> {
    let (text, origin) = token_text(config, environment)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(SessionError::NoToken);
    }
    // It becomes a header of each request.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SessionError::BadToken(origin));
    }
    Ok(Secret::new(token))
}

fn token_text(config: &Config, environment: &Environment) -> Result<(String, TokenOrigin), SessionError> {
    if let Some(token) = environment.variables.get(TOKEN_VARIABLE).filter(|token| !token.is_empty()) {
        return Ok((token.clone(), TokenOrigin::Environment));
    }
    if let Some(token) = config.management_token.as_ref().filter(|token| token.reveal() != PLACEHOLDER) {
        return Ok((token.reveal().to_owned(), TokenOrigin::Key));
    }
    let path = config.management_token_file.as_ref().ok_or(SessionError::NoToken)?;
    let path = expand(path, config, environment)?;
    let text = read_private(&path).map_err(SessionError::TokenFile)?;
    Ok((text, TokenOrigin::File(path)))
}

fn expand(path: &Template, config: &Config, environment: &Environment) -> Result<PathBuf, SessionError> {
    let variables = Variables { environment: environment.variables.clone(), ..Variables::default() };
    let path = path.expand(&variables).map_err(|error| SessionError::Expand(error.report(&config.source)))?;
    Ok(environment.current_dir.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token that is used with this line in the configuration and this value in the environment.
    fn token(line: &str, variable: &str) -> Result<Secret, SessionError> {
        let text = format!(
            "name = \"m\"\nhostname = \"h\"\nproject = \"g/p\"\n{line}\n[runners.a]\ntags = [\"a\"]\n[runner]\nexecutor = \"custom\"\n"
        );
        let config = meta_core::config::parse(std::path::Path::new("x.toml"), &text).unwrap();
        let mut environment = Environment::capture();
        environment.variables = [(TOKEN_VARIABLE.to_owned(), variable.to_owned())].into();
        management_token(&config, &environment)
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let is = |line: &str, variable: &str, wanted: &str| {
            assert_eq!(token(line, variable).unwrap().reveal(), wanted);
        };
        is("management_token = \"glpat-key\"", "", "glpat-key");
        is("management_token = \"glpat-key\"", "glpat-variable", "glpat-variable");
        is("management_token = \"enter-your-token-here\"", "glpat-variable", "glpat-variable");
    }

    #[test]
    fn the_example_s_text_is_no_token() {
        let refused = token("management_token = \"enter-your-token-here\"", "").unwrap_err();
        assert!(matches!(refused, SessionError::NoToken), "{refused}");
    }
}
