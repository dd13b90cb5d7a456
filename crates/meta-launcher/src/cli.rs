//! The command line.

use clap::{Parser, Subcommand};
use meta_host::Environment;
use meta_host::arguments::CommonArgs;

use crate::failure::LauncherError;
use crate::tick;

/// Launches runners for pending jobs.
#[derive(Debug, Parser)]
#[command(name = "meta-launcher", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(subcommand)]
    task: Task,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Task {
    /// One tick: launch what is missing now (for cron)
    Once,
}

/// Runs it; returns an exit code.
pub(crate) fn run(args: &Args, environment: &Environment) -> Result<u8, LauncherError> {
    let paths = args.common.paths(environment).map_err(LauncherError::Paths)?;
    match args.task {
        Task::Once => tick::once(&paths, environment),
    }
}
