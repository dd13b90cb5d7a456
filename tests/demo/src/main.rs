//! The demo: from a push to the results of a pipeline, on the Apptainer and the batch system that are there.
//! Called by `cargo xtask demo`, in the bed or on this machine.

#![expect(
    clippy::disallowed_methods,
    reason = "the demo is at the edge: it starts programs and reads its surroundings"
)]

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod demo;
mod expected;
mod failure;
mod follow;
mod gitlab;
mod joblog;
mod leftovers;
mod place;
mod report;
mod repository;
mod runner;
mod site;

fn main() -> ExitCode {
    let error = match demo::run(&arguments::Arguments::parse()) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::FAILURE,
        Err(error) => error,
    };
    eprint!("demo: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        eprint!(": {source}");
        cause = source.source();
    }
    eprintln!();
    ExitCode::from(error.code())
}
