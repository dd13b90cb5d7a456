//! One submission: the launch command, and what its answer makes of the launch.

use std::time::Duration;

use meta_core::config::launch::{LaunchConfig, Scheduler};
use meta_core::instance::LaunchCommand;
use meta_core::launches::{Launch, State};
use meta_gitlab::session::TOKEN_VARIABLE;
use meta_host::process::{self, ProcessError};
use meta_host::{Environment, clock};

use crate::slurm;

/// Runs `command` for `launch` and writes into `launch` what became of it. The caller has saved it as `submitting`.
pub(crate) fn submit(
    launch: &mut Launch,
    command: LaunchCommand,
    name: &str,
    config: &LaunchConfig,
    environment: &Environment,
) {
    let mut line = command.command;
    if command.scheduler == Scheduler::Slurm {
        line.args.splice(0..0, slurm::flags(name, &launch.id, uses_launch_id(config)));
    }
    // A batch job has no use for our token, and its environment can be read.
    line.clear_env = true;
    line.env = environment.variables.clone().into_iter().filter(|(name, _)| name != TOKEN_VARIABLE).collect();
    let result = process::run(&line, Duration::from_secs(command.timeout_s))
        .and_then(|output| output.require_success(&line));
    launch.changed = clock::now();
    match result {
        Ok(output) => {
            launch.state = State::Queued;
            if command.scheduler == Scheduler::Slurm {
                launch.batch_id = slurm::parse_submitted(&String::from_utf8_lossy(&output.stdout));
                if launch.batch_id.is_none() {
                    // It is looked for in the queue before anything is repeated.
                    launch.state = State::Unknown;
                }
            }
        }
        Err(error @ ProcessError::TimedOut { .. }) => {
            launch.state = State::Unknown;
            launch.reason = Some(error.to_string());
        }
        Err(error) => {
            launch.state = State::Failed;
            launch.reason = Some(text_of(&error, environment));
        }
    }
}

fn uses_launch_id(config: &LaunchConfig) -> bool {
    config.args.iter().chain(&config.stdin).any(|template| template.text().contains("LAUNCH_ID"))
}

fn text_of(error: &ProcessError, environment: &Environment) -> String {
    match error {
        ProcessError::Start { source, .. } => {
            let path = environment.variables.get("PATH").map_or("", String::as_str);
            format!(
                "{error}: {source} (PATH is `{path}`; in a crontab write a line `PATH=...` above the others)"
            )
        }
        _ => error.to_string(),
    }
}
