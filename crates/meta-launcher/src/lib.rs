//! Puts `gitlab-runner run-single` into the batch queue for pending jobs.
//!
//! A tick gathers [`facts`], hands them to [`plan`], and performs what comes out. [`plan`] and everything below it is
//! pure.

pub mod facts;
pub mod outlook;
pub mod plan;
pub mod supply;

mod backoff;
mod cli;
mod failure;
mod gather;
mod settle;
mod slurm;
mod submit;
#[cfg(test)]
mod testing;
mod tick;

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
