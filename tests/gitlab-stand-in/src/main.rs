//! Plays GitLab in tests and the demo.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use gitlab_stand_in::{Args, run};

fn main() -> ExitCode {
    let Err(error) = run(Args::parse()) else { return ExitCode::SUCCESS };
    eprint!("gitlab-stand-in: {error}");
    let mut next = error.source();
    while let Some(source) = next {
        eprint!(": {source}");
        next = source.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
