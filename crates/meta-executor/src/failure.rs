//! The two ways in which a stage can fail, as gitlab-runner tells them apart.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::pod::stop_signals::StoppedBy;

/// A stage that did not succeed. gitlab-runner tries a system failure in `prepare` three times and lets users retry it by
/// `retry: runner_system_failure`; a build failure is the job's own and final.
#[derive(Debug)]
pub(crate) enum StageFailure {
    /// The job's script ended with this code, or the job asks for something that can never work.
    Build { message: Option<Message> },
    /// The node, the configuration or this program is at fault.
    System { message: Option<Message> },
}

/// What the job log says.
#[derive(Debug)]
pub(crate) struct Message {
    text: String,
    hint: Option<String>,
}

impl StageFailure {
    /// The script failed; its output has said why.
    pub(crate) fn script() -> Self {
        Self::Build { message: None }
    }

    /// The stage was told to stop. Where gitlab-runner did it, the job log has its reason already.
    pub(crate) fn stopped(by: StoppedBy) -> Self {
        match by {
            StoppedBy::Runner => Self::System { message: None },
            StoppedBy::Other => Self::system_with_hint(
                "the job was stopped",
                "the allocation has come to its end, or somebody ended this process",
            ),
        }
    }

    /// The job must be changed.
    pub(crate) fn job(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Build { message: Some(Message { text: text.into(), hint: Some(hint.into()) }) }
    }

    /// Ours or the node's fault, with the causes.
    pub(crate) fn system(error: &dyn Error) -> Self {
        Self::System { message: Some(Message { text: chain(error), hint: None }) }
    }

    /// The same, with advice.
    pub(crate) fn system_with_hint(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::System { message: Some(Message { text: text.into(), hint: Some(hint.into()) }) }
    }

    /// A file or directory of the job cannot be made or written.
    pub(crate) fn disk(path: &Path, error: &std::io::Error) -> Self {
        let text = format!("cannot write `{}`: {error}", path.display());
        Self::system_with_hint(text, "check that the file system is there and not full")
    }

    /// The exit code that gitlab-runner asked for in this environment (docker-executor contract: 1 and 2 are its values).
    pub(crate) fn exit_code(&self, environment: &BTreeMap<String, String>) -> ExitCode {
        let (variable, default) = match self {
            Self::Build { .. } => ("BUILD_FAILURE_EXIT_CODE", 1),
            Self::System { .. } => ("SYSTEM_FAILURE_EXIT_CODE", 2),
        };
        ExitCode::from(environment.get(variable).and_then(|code| code.parse().ok()).unwrap_or(default))
    }
}

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Build { message: Some(message) } | Self::System { message: Some(message) }) = self else {
            return Ok(());
        };
        write!(f, "ERROR: {}", message.text)?;
        match &message.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_from_gitlab_runner() {
        let environment = BTreeMap::from([("SYSTEM_FAILURE_EXIT_CODE".to_owned(), "22".to_owned())]);
        let system = StageFailure::system_with_hint("x", "y");
        assert_eq!(system.exit_code(&environment), ExitCode::from(22));
        assert_eq!(StageFailure::script().exit_code(&environment), ExitCode::from(1));
    }

    #[test]
    fn messages_have_their_hint_below() {
        assert_eq!(StageFailure::job("no image", "name one").to_string(), "ERROR: no image\nhint: name one");
        assert_eq!(StageFailure::script().to_string(), "");
        assert_eq!(StageFailure::stopped(StoppedBy::Runner).to_string(), "");
        assert!(
            StageFailure::stopped(StoppedBy::Other)
                .to_string()
                .starts_with("ERROR: the job was stopped\nhint: ")
        );
    }
}
