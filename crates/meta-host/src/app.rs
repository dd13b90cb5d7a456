//! The body of every `main`: log, error report, exit code.

use std::io::Write;
use std::process::ExitCode;

use log::{Level, LevelFilter};

use crate::{Environment, Failure};

/// Runs `body` with the environment as it is now and ends with the exit code that it returns.
///
/// `body` returns an exit code itself (`exit::DONE`, or `exit::PARTIAL` when it has reported what failed); an error is
/// reported here. The log goes to stderr. Only our own crates write to it: the HTTP and TLS libraries log request headers,
/// and so tokens, at `trace`, and at `error` what we report ourselves.
pub fn run<E: Failure>(level: LevelFilter, body: impl FnOnce(&Environment) -> Result<u8, E>) -> ExitCode {
    start_log(level);
    match body(&Environment::capture()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints one error with its causes and hints to stderr, for programs that go on after it.
pub fn report(error: &dyn Failure) {
    // Nobody is left to tell when stderr itself is closed.
    let _ = writeln!(std::io::stderr(), "{}", error.report());
}

/// Writes data to stdout. A reader that has closed the pipe has seen enough, which is no failure.
pub fn print(data: &str) {
    let _ = std::io::stdout().lock().write_all(data.as_bytes());
}

/// Starts the log on stderr, for a program that reports its errors itself.
pub fn start_log(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(LevelFilter::Off)
        .filter_module("meta_", level)
        .filter_module("gitlab_meta_runner", level)
        .format(|out, record| match record.level() {
            Level::Error => writeln!(out, "error: {}", record.args()),
            Level::Warn => writeln!(out, "warning: {}", record.args()),
            Level::Info => writeln!(out, "{}", record.args()),
            Level::Debug | Level::Trace => writeln!(out, "[{}] {}", record.target(), record.args()),
        });
    // A second logger is only possible in tests that call `run` twice in one process.
    let _ = builder.try_init();
}
