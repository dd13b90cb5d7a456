//! Starting our other programs: they are installed beside the front.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use meta_host::{Environment, Failure, exit};
use thiserror::Error;

/// A program that did not start.
#[derive(Debug, Error)]
#[error("cannot start `{program}`")]
pub(crate) struct StartError {
    program: PathBuf,
    source: io::Error,
}

impl Failure for StartError {
    fn hint(&self) -> Option<String> {
        Some("install all programs of gitlab-meta-runner in one directory".to_owned())
    }
}

/// Becomes `program`; returns only if that fails.
pub(crate) fn replace(environment: &Environment, program: &str, args: Vec<String>) -> Result<u8, StartError> {
    let (program, mut command) = command(environment, program, args);
    Err(StartError { program, source: command.exec() })
}

/// Runs `program` to its end; returns its exit code.
pub(crate) fn run(environment: &Environment, program: &str, args: Vec<String>) -> Result<u8, StartError> {
    let (program, mut command) = command(environment, program, args);
    let status = command.status().map_err(|source| StartError { program, source })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::UNEXPECTED))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the front hands its terminal and its environment to the program"
)]
fn command(environment: &Environment, program: &str, args: Vec<String>) -> (PathBuf, Command) {
    let path = environment.beside(program);
    let mut command = Command::new(&path);
    command.args(args);
    (path, command)
}
