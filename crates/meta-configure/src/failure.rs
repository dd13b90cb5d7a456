//! Why a command of ours ended badly.

use std::path::PathBuf;

use meta_core::registrations::RegistrationsError;
use meta_core::source::Problems;
use meta_host::arguments::PathsError;
use meta_host::configuration::ConfigurationError;
use meta_host::files::FileError;
use meta_host::lease::LeaseError;
use meta_host::{Failure, exit};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigureError {
    #[error(transparent)]
    Paths(PathsError),
    #[error(transparent)]
    Configuration(ConfigurationError),
    #[error("a template of the configuration cannot be expanded")]
    Expand(#[source] Problems),
    #[error("`{0}` exists and is left as it is")]
    Exists(PathBuf),
    #[error("no runner is registered")]
    NotRegistered,
    #[error("cannot understand `{path}`")]
    Registrations { path: PathBuf, source: RegistrationsError },
    #[error(transparent)]
    File(FileError),
    #[error(transparent)]
    Lease(LeaseError),
}

impl Failure for ConfigureError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Lease(error) => error.exit_code(),
            _ => exit::CONFIGURATION,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Paths(error) => error.hint(),
            Self::Configuration(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            Self::Exists(_) => Some("edit it, or name another one with `--config-file`".to_owned()),
            Self::NotRegistered => Some("run `gitlab-meta-runner configure`".to_owned()),
            Self::Registrations { source, .. } => source.hint().or_else(|| {
                Some("restore the file from a backup, or remove it and register again".to_owned())
            }),
            Self::Expand(_) => None,
        }
    }

    fn report(&self) -> String {
        match self {
            Self::Configuration(error) => error.report(),
            Self::Expand(problems) => problems.report(),
            Self::File(error) => error.report(),
            Self::Lease(error) => error.report(),
            Self::Paths(error) => error.report(),
            Self::Exists(_) | Self::NotRegistered => {
                format!("error: {self}\nhint: {}", self.hint().unwrap_or_default())
            }
            Self::Registrations { source, .. } => {
                format!("error: {self}\ncaused by: {source}\nhint: {}", self.hint().unwrap_or_default())
            }
        }
    }
}
