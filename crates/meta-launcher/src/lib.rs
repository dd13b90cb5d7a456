//! Puts `gitlab-runner run-single` into the batch queue for pending jobs.
//!
//! A tick gathers [`facts`], hands them to [`plan`], and performs what comes out. [`plan`] and everything below it is
//! pure.

pub mod batch;
pub mod facts;
pub mod outlook;
pub mod plan;
pub mod refs;
pub mod supply;
pub mod surplus;

mod backoff;
mod book;
mod cli;
mod explain;
mod failure;
mod gather;
mod job_names;
mod look;
mod metrics;
mod queue;
mod renewal;
mod runners;
mod scope;
mod search_path;
mod service;
mod settle;
mod setup;
mod shares;
mod signals;
mod sites;
mod status;
mod submit;
mod table;
#[cfg(test)]
mod testing;
mod tick;
mod troubles;
mod waiting;

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
