//! The command line.

use clap::{Parser, Subcommand};
use meta_gitlab::session;
use meta_host::Environment;
use meta_host::arguments::{CommonArgs, Paths};

use crate::failure::LauncherError;
use crate::setup::Setup;
use crate::tick::tick;
use crate::troubles::Troubles;
use crate::{explain, service, status};

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
    /// Ticks until it is stopped (for systemd); SIGHUP reads the configuration again
    Run,
    /// Show how instances and launches stand
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the next tick would do, and why
    Plan,
}

/// Runs it; returns an exit code.
pub(crate) fn run(args: &Args, environment: &Environment) -> Result<u8, LauncherError> {
    let paths = args.common.paths(environment).map_err(LauncherError::Paths)?;
    match args.task {
        Task::Once => once(&paths, environment),
        Task::Run => service::run(&paths, environment),
        Task::Status { json } => status::run(&paths, environment, json),
        Task::Plan => explain::run(&paths, environment),
    }
}

fn once(paths: &Paths, environment: &Environment) -> Result<u8, LauncherError> {
    let setup = Setup::load(paths, environment)?;
    let gitlab = session::connect(&setup.config, environment).map_err(LauncherError::Session)?;
    Ok(tick(&setup, &gitlab, &mut Troubles::default(), &|| false).code)
}
