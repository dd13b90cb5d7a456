//! Writes what gitlab-runner and the executor read, and the tools around the configuration file.

mod check;
mod cli;
mod doctor;
mod example;
mod failure;
mod files;
mod render;
mod show;

use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};

/// The command line, for its manual page and shell completions.
pub fn command() -> Command {
    cli::Args::command()
}

/// The whole program.
pub fn main() -> ExitCode {
    let args = cli::Args::parse();
    meta_host::app::run(args.common.level(), |environment| cli::run(&args, environment))
}
