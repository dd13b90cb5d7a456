//! Development tasks: `cargo xtask COMMAND`.

#![expect(
    clippy::disallowed_methods,
    reason = "xtask is tooling at the edge: it starts processes and reads its surroundings"
)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bed;
mod bench;
mod demo;
mod dist;
mod docs;
mod failure;
mod interrupt;
mod process;
mod progress;
mod test;
mod workspace;

/// Development tasks of gitlab-meta-runner.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A small real cluster (Slurm, Apptainer, a registry) inside target/bed.
    #[command(subcommand)]
    Bed(bed::Task),
    /// A sample pipeline from push to result.
    Demo(demo::Arguments),
    /// Every test: on the host, then in the bed.
    Test,
    /// A tar file with the programs for release, documents, manual pages, completions and the example configuration.
    Dist,
    /// Manual pages and shell completions, in target/docs.
    Docs,
    /// Figures: sizes, build time, and how fast the programs are.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Bed(task) => bed::run(task),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test => test::all(),
        Task::Dist => dist::run(),
        Task::Docs => docs::run(),
        Task::Bench(arguments) => bench::run(&arguments),
    };
    outcome.unwrap_or_else(|failure| failure.report())
}
