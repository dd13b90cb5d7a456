//! Registers, updates and deletes runners through the GitLab API.
//!
//! The pipeline: `desired` from the configuration, `state` from disk, `remote` from GitLab; `plan` compares the
//! three; `apply` does one action after the other. `register` joins them.

mod apply;
mod desired;
mod failure;
mod generated;
mod management;
mod plan;
mod register;
mod remote;
mod report;
mod state;

use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};

/// The command line, for its manual page and shell completions.
pub fn command() -> Command {
    register::Args::command()
}

/// The whole program.
pub fn main() -> ExitCode {
    let args = register::Args::parse();
    meta_host::app::run(args.common.level(), |environment| register::run(&args, environment))
}
