//! Puts `gitlab-runner run-single` into the batch queue for pending jobs.

mod cli;
mod failure;
mod gather;
mod slurm;
mod submit;
mod tick;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    meta_host::app::run(args.common.level(), |environment| cli::run(&args, environment))
}
