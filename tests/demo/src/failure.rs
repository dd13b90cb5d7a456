//! Why a demo has no results.

use std::io;
use std::path::PathBuf;

use gitlab_stand_in::StartError;

const INTERRUPTED: u8 = 130;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("interrupted")]
    Interrupted,
    #[error("{program} is missing\nhint: {hint}")]
    Missing { program: &'static str, hint: &'static str },
    #[error("cannot write `{path}`")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot watch for signals")]
    Signals { source: io::Error },
    #[error("cannot start the GitLab stand-in")]
    GitLab { source: StartError },
    #[error("GitLab does not answer to {request}")]
    Request { request: String, source: Box<ureq::Error> },
    #[error("GitLab's answer to {request} has no `{field}`")]
    Answer { request: String, field: &'static str },
    #[error("cannot start `{program}`")]
    Start { program: String, source: io::Error },
    #[error("`{program}` failed ({status}):\n{output}")]
    Failed { program: String, status: std::process::ExitStatus, output: String },
    #[error(
        "the jobs were not done after {minutes} minutes\nhint: the logs of the allocations are above; do the nodes reach {url}?"
    )]
    TooSlow { minutes: u64, url: String },
}

impl DemoError {
    /// The exit code: as a shell names an interrupt, else 1.
    pub(crate) fn code(&self) -> u8 {
        if matches!(self, Self::Interrupted) { INTERRUPTED } else { 1 }
    }
}
