//! The command line of gitlab-runner's four calls.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use meta_core::name::InstanceName;
use meta_host::arguments::CommonArgs;
use meta_host::{Environment, app};
use rustix::stdio::dup2_stderr;

use crate::context::Context;
use crate::failure::StageFailure;
use crate::job::Job;
use crate::stages::{cleanup, config, prepare, run};

/// The custom executor of gitlab-runner: jobs run in Apptainer as they would in Docker.
#[derive(Debug, Parser)]
#[command(name = "meta-executor", version)]
pub(crate) struct Args {
    /// The instance, `[runners.INSTANCE]` of the configuration.
    instance: InstanceName,
    #[command(subcommand)]
    stage: Stage,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Subcommand)]
enum Stage {
    /// Print the driver's settings as JSON.
    Config,
    /// Make the job's directories and get its image.
    Prepare,
    /// Run one script of the job.
    Run {
        /// The script that gitlab-runner made.
        script: PathBuf,
        /// gitlab-runner's name of the stage.
        stage: String,
    },
    /// Remove what the job left.
    Cleanup,
}

/// Runs one of gitlab-runner's calls.
pub(crate) fn main(args: &Args) -> ExitCode {
    if matches!(args.stage, Stage::Prepare | Stage::Run { .. }) {
        join_streams();
    }
    app::start_log(args.common.level());
    let environment = Environment::capture();
    match stage(args, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                // Nobody is left to tell when stderr itself is closed.
                let _ = writeln!(io::stderr(), "{text}");
            }
            failure.exit_code(&environment.variables)
        }
    }
}

/// Sends what goes to stderr the way of stdout. gitlab-runner copies both to the job log, each on its own, so that lines of
/// one come before earlier lines of the other.
fn join_streams() {
    // Without a stdout nobody reads the log.
    let _ = dup2_stderr(io::stdout());
}

fn stage(args: &Args, environment: &Environment) -> Result<(), StageFailure> {
    let job = match Job::load(&environment.variables) {
        // Without a job nothing was made, and the next job on the node removes what was.
        Err(error) if matches!(args.stage, Stage::Cleanup) && error.is_missing() => return Ok(()),
        result => result.map_err(|error| StageFailure::system(&error))?,
    };
    let paths = args.common.paths(environment).map_err(|error| StageFailure::system(&error))?;
    let context = Context::load(&args.instance, paths.data_dir, environment, &job)?;
    match &args.stage {
        Stage::Config => config::run(&context, &job),
        Stage::Prepare => prepare::run(&context, job),
        Stage::Run { script, stage } => run::run(&context, &job, script, stage),
        Stage::Cleanup => cleanup::run(&context),
    }
}
