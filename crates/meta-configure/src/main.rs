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

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    meta_host::app::run(args.common.level(), |environment| cli::run(&args, environment))
}
