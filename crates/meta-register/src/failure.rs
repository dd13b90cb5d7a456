//! Why nothing, or not everything, was done.

use meta_core::name::InstanceName;
use meta_gitlab::ApiError;
use meta_gitlab::session::SessionError;
use meta_host::arguments::PathsError;
use meta_host::configuration::ConfigurationError;
use meta_host::files::FileError;
use meta_host::lease::LeaseError;
use meta_host::{Failure, exit};

use crate::management::ScopeError;
use crate::state::StateError;

/// What ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    #[error(transparent)]
    Paths(PathsError),
    #[error(transparent)]
    Configuration(ConfigurationError),
    #[error(transparent)]
    Session(SessionError),
    #[error(transparent)]
    File(FileError),
    #[error(transparent)]
    Lease(LeaseError),
    #[error(transparent)]
    State(StateError),
    #[error("cannot read the runners from GitLab")]
    Read(#[source] ApiError),
    #[error(transparent)]
    Scopes(ScopeError),
}

impl RegisterError {
    fn inner(&self) -> &dyn Failure {
        match self {
            Self::Paths(error) => error,
            Self::Configuration(error) => error,
            Self::Session(error) => error,
            Self::File(error) => error,
            Self::Lease(error) => error,
            Self::State(error) => error,
            Self::Read(error) => error,
            Self::Scopes(error) => error,
        }
    }
}

impl Failure for RegisterError {
    fn exit_code(&self) -> u8 {
        self.inner().exit_code()
    }

    fn hint(&self) -> Option<String> {
        self.inner().hint()
    }

    fn report(&self) -> String {
        match self {
            Self::Read(error) => {
                format!("error: {self}\ncaused by: {}", error.report().trim_start_matches("error: "))
            }
            _ => self.inner().report(),
        }
    }
}

/// A runner that could not be looked at. Its instance is left as it is.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at runner {id} of `{instance}`")]
pub(crate) struct UnreadableRunner<'a> {
    pub(crate) id: u64,
    pub(crate) instance: &'a InstanceName,
    pub(crate) source: &'a ApiError,
}

impl Failure for UnreadableRunner<'_> {
    fn exit_code(&self) -> u8 {
        exit::GITLAB
    }

    fn hint(&self) -> Option<String> {
        if self.source.is_trouble_on_the_way() {
            return self.source.hint();
        }
        let left = "if the runner belongs to a project that the configuration has left, delete it in GitLab";
        Some([self.source.hint(), Some(left.to_owned())].into_iter().flatten().collect::<Vec<_>>().join("\n"))
    }
}
