//! Plays gitlab-runner where there is no real one: the `run-single` command, the custom and shell executors, and the
//! helper commands that generated scripts call. See `docs/decisions/0003-runner-stand-in.md`.

mod build;
mod calendar;
mod cli;
mod config;
mod duration;
mod executor;
mod gitlab;
mod helper;
mod job;
mod joblog;
mod random;
mod runner_log;
mod scope;
mod shell;
mod single;
mod trace;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
