//! How a job can fail, and as what that is reported.

use std::fmt;

use crate::scope::End;

/// GitLab's name for the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    ScriptFailure,
    RunnerSystemFailure,
    JobExecutionTimeout,
    ConfigurationError,
    RunnerInterrupted,
    JobCanceled,
    UnknownFailure,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScriptFailure => "script_failure",
            Self::RunnerSystemFailure => "runner_system_failure",
            Self::JobExecutionTimeout => "job_execution_timeout",
            Self::ConfigurationError => "runner_configuration_error",
            Self::RunnerInterrupted => "runner_interrupted",
            Self::JobCanceled => "job_canceled",
            Self::UnknownFailure => "unknown_failure",
        })
    }
}

impl Reason {
    /// The nearest reason that the server knows; three are known to all.
    pub(crate) fn supported_by(self, server: &[String]) -> Self {
        let known = |reason: &Self| server.contains(&reason.to_string());
        match self {
            Self::ScriptFailure | Self::RunnerSystemFailure | Self::JobExecutionTimeout => self,
            _ if known(&self) => self,
            Self::ConfigurationError => Self::ScriptFailure,
            _ => Self::UnknownFailure,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobError {
    /// The job itself failed: never tried again in prepare, and reported with its reason.
    Build { message: String, exit_code: i32, reason: Reason },
    /// Anything else: a system failure.
    System(String),
    /// The scope that it ran in is over.
    Ended(End),
}

impl JobError {
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::Build { message: message.into(), exit_code: 0, reason: Reason::ConfigurationError }
    }

    pub(crate) fn canceled() -> Self {
        Self::Build { message: "canceled".to_owned(), exit_code: 0, reason: Reason::JobCanceled }
    }

    /// `CI_JOB_STATUS` as after_script sees it.
    pub(crate) fn job_status(&self) -> &'static str {
        match self {
            Self::Ended(End::Cancelled) | Self::Build { reason: Reason::JobCanceled, .. } => "canceled",
            Self::Ended(_) | Self::Build { reason: Reason::JobExecutionTimeout, .. } => "timedout",
            _ => "failed",
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build { message, .. } | Self::System(message) => f.write_str(message),
            Self::Ended(End::Cancelled) => f.write_str("context canceled"),
            Self::Ended(_) => f.write_str("context deadline exceeded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fall_back_to_what_the_server_knows() {
        let server = ["runner_interrupted".to_owned()];
        assert_eq!(Reason::RunnerInterrupted.supported_by(&server), Reason::RunnerInterrupted);
        assert_eq!(Reason::ConfigurationError.supported_by(&server), Reason::ScriptFailure);
        assert_eq!(Reason::JobCanceled.supported_by(&server), Reason::UnknownFailure);
        assert_eq!(Reason::RunnerSystemFailure.supported_by(&[]), Reason::RunnerSystemFailure);
    }
}
