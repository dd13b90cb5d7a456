//! Why a tick ended badly.

use std::io;
use std::path::PathBuf;

use meta_core::launches::LedgerError;
use meta_core::registrations::RegistrationsError;
use meta_core::source::Problems;
use meta_gitlab::session::SessionError;
use meta_gitlab::{ApiError, ErrorKind};
use meta_host::arguments::PathsError;
use meta_host::configuration::ConfigurationError;
use meta_host::exit::report_chain;
use meta_host::files::FileError;
use meta_host::lease::LeaseError;
use meta_host::{Failure, exit};

#[derive(Debug, thiserror::Error)]
pub(crate) enum LauncherError {
    #[error(transparent)]
    Paths(PathsError),
    #[error(transparent)]
    Configuration(ConfigurationError),
    #[error("the configuration has no `[launch]`")]
    NoLaunch,
    #[error("a template of `[launch]` cannot be expanded")]
    Expand(#[source] Problems),
    #[error("cannot understand `{}`", path.display())]
    Registrations { path: PathBuf, source: RegistrationsError },
    #[error("cannot understand `{}`", path.display())]
    Ledger { path: PathBuf, source: LedgerError },
    #[error(transparent)]
    File(FileError),
    #[error(transparent)]
    Lease(LeaseError),
    #[error(transparent)]
    Session(SessionError),
    #[error(transparent)]
    GitLab(ApiError),
    #[error("cannot take signals")]
    Signals(#[source] io::Error),
}

impl LauncherError {
    /// Whether GitLab does not know the management token.
    pub(crate) fn is_refused_token(&self) -> bool {
        matches!(self, Self::GitLab(error) if error.kind == ErrorKind::Unauthorized)
    }
}

impl Failure for LauncherError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Paths(error) => error.exit_code(),
            Self::Lease(error) => error.exit_code(),
            Self::Session(error) => error.exit_code(),
            Self::GitLab(error) => error.exit_code(),
            Self::Signals(_) => exit::UNEXPECTED,
            _ => exit::CONFIGURATION,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoLaunch => Some(
                "write `[launch]` with `executable` and `stdin`: `gitlab-meta-runner show-example-config`"
                    .to_owned(),
            ),
            Self::Registrations { source, .. } => source.hint().or_else(|| {
                Some("repair the file, or move it away and run `gitlab-meta-runner configure`: our runners get new tokens".to_owned())
            }),
            Self::Ledger { source: LedgerError::Version(_), .. } => {
                Some("a newer launcher wrote it and knows of launches in the queue: use that one".to_owned())
            }
            Self::Ledger { .. } => {
                Some("look into the batch queue for launches, then remove the file".to_owned())
            }
            _ => None,
        }
    }

    fn report(&self) -> String {
        match self {
            Self::Paths(error) => error.report(),
            Self::Configuration(error) => error.report(),
            Self::Expand(problems) => problems.report(),
            Self::File(error) => error.report(),
            Self::Lease(error) => error.report(),
            Self::Session(error) => error.report(),
            Self::GitLab(error) => error.report(),
            _ => report_chain(self),
        }
    }
}
