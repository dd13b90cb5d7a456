//! The custom executor of gitlab-runner: jobs run in Apptainer as they would in Docker.
//!
//! Each of gitlab-runner's calls is a process of its own (`stages`). A stage that runs something makes a pod (`pod`), whose
//! inner processes are this program again (`inside`). Nothing stays behind but the job's directories.

mod cli;
mod container;
mod context;
mod directories;
mod elsewhere;
mod entry;
mod failure;
mod gpu;
mod helper;
mod holder;
mod hostname;
mod image;
mod inside;
mod job;
mod job_variables;
mod layer;
mod named_by;
mod network;
mod node;
mod owner;
mod ownership;
mod plain;
mod pod;
mod pull;
mod removal;
mod rooted;
mod services;
mod slot;
mod stage;
mod stages;
mod state;
mod sweep;
mod tools;

use std::io::Write;
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};

/// The command line, for its manual page and shell completions.
pub fn command() -> Command {
    cli::Args::command()
}

/// The whole program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    inside::main(&words).unwrap_or_else(|| cli::main(&cli::Args::parse()))
}

/// One line of the job log. A log that is closed is gitlab-runner's business.
fn log_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
