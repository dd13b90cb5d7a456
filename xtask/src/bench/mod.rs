//! `cargo xtask bench [SUBJECT]`: figures as plain tables on stdout.
//!
//! A machine is never as fast as the next one, nor as itself a minute later. So a bench measures what it claims and what
//! it compares with side by side in one run (`end_to_end::measure::samples` takes turns), and the table shows the ratio.
//! A file per subject; what needs the cluster runs there by [`in_bed::rows`].

use crate::failure::Result;
use clap::{Args, ValueEnum};
use plain_table::Table;
use std::process::ExitCode;

mod executor;
mod in_bed;
mod launcher;
mod pull;
mod register;
mod services;
mod size;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// What to measure; by default everything.
    subject: Option<Subject>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    Size,
    Executor,
    Launcher,
    Register,
    Services,
}

/// What a bench found.
#[derive(Debug)]
struct Report {
    title: String,
    table: Table,
    /// Limits that were not kept. Any of them makes the exit code 1.
    missed: Vec<String>,
}

type Bench = fn() -> Result<Vec<Report>>;

impl Subject {
    fn benches(self) -> &'static [Bench] {
        match self {
            Self::Size => &[size::measure],
            Self::Executor => &[executor::measure, pull::measure],
            Self::Launcher => &[launcher::measure],
            Self::Register => &[register::measure],
            Self::Services => &[services::measure],
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let subjects = arguments.subject.as_ref().map_or_else(|| Subject::value_variants(), std::slice::from_ref);
    let mut code = ExitCode::SUCCESS;
    for bench in subjects.iter().flat_map(|subject| subject.benches()) {
        for report in bench()? {
            println!("{}\n\n{}", report.title, report.table);
            for missed in &report.missed {
                println!("over the limit: {missed}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
