//! The command line.

use clap::{Parser, Subcommand};
use meta_host::arguments::CommonArgs;
use meta_host::{Environment, configuration};

use crate::failure::ConfigureError;
use crate::{check, doctor, example, files, show};

/// Writes gitlab-runner's configuration and checks ours.
#[derive(Debug, Parser)]
#[command(name = "meta-configure", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Task {
    /// Write gitlab-runner's and the executor's files (the default)
    Render,
    /// Report every problem of the configuration
    Check,
    /// Print the sections of every instance as they are used, without secrets
    Show,
    /// Check what must be there before the first job
    Doctor,
    /// Print the documented example
    Example,
    /// Write the example to the configuration file, if there is none
    Create,
}

/// Runs one of them; returns an exit code.
pub(crate) fn run(args: &Args, environment: &Environment) -> Result<u8, ConfigureError> {
    let paths = args.common.paths(environment).map_err(ConfigureError::Paths)?;
    let load = || configuration::load(&paths.config_file).map_err(ConfigureError::Configuration);
    match args.task.unwrap_or(Task::Render) {
        Task::Render => files::render(&load()?, &paths, environment),
        Task::Check => check::run(&load()?, environment),
        Task::Show => show::run(&load()?, &paths, environment),
        Task::Doctor => Ok(doctor::run(&paths, environment)),
        Task::Example => Ok(example::print()),
        Task::Create => example::create(&paths.config_file),
    }
}
