//! One submission: the launch command, and what its answer makes of the launch.

use std::time::Duration;

use crate::batch;
use meta_core::instance::LaunchCommand;
use meta_core::launches::{Launch, State};
use meta_gitlab::session::TOKEN_VARIABLE;
use meta_host::clock;
use meta_host::files::make_dir;
use meta_host::process::{self, ProcessError};

use crate::failure::LauncherError;
use crate::search_path;
use crate::setup::Setup;

/// The command of a launch, complete. Makes the directory that it runs in.
pub(crate) fn command(setup: &Setup<'_>, launch: &Launch) -> Result<LaunchCommand, LauncherError> {
    let mut command = setup.command(&launch.instance, &launch.id, launch.slots)?;
    let line = &mut command.command;
    if let Some(scheduler) = setup.description(&command.scheduler) {
        let (mark, count) = (mark(setup.name(), &launch.id), launch.elements.to_string());
        let variables =
            [("MARK", mark.as_str()), ("LAUNCH_ID", launch.id.as_str()), ("COUNT", count.as_str())];
        let own = if setup.launch.uses_launch_id() {
            &scheduler.submit_args_unmarked
        } else {
            &scheduler.submit_args
        };
        let mut added = setup.expand(&launch.instance, own, &variables)?;
        if launch.elements > 1 {
            added.extend(setup.expand(&launch.instance, &scheduler.array_args, &variables)?);
        }
        line.args.splice(0..0, added);
    }
    let workdir = line.cwd.get_or_insert_with(|| setup.paths.data_dir.clone());
    // It is the admin's, and may be a group's.
    make_dir(workdir).map_err(LauncherError::File)?;
    // A batch job has no use for our token, and its environment can be read.
    line.clear_env = true;
    let variables = setup.environment.variables.clone().into_iter();
    line.env = variables.filter(|(name, _)| name != TOKEN_VARIABLE).collect();
    Ok(command)
}

/// What leads from the batch job back to its launch (contracts, section 6).
pub(crate) fn mark(name: &str, id: &str) -> String {
    format!("gitlab-meta-runner/{name}/{id}")
}

/// Runs the command and writes into `launch` what became of it. The caller has saved it as `submitting`.
/// Gives the text of a refusal.
pub(crate) fn submit(
    setup: &Setup<'_>,
    launch: &mut Launch,
    command: &LaunchCommand,
    fingerprint: &str,
) -> Option<String> {
    let line = &command.command;
    let result = process::run(line, Duration::from_secs(command.timeout_s))
        .and_then(|output| output.require_success(line));
    launch.changed = clock::now();
    let scheduler = setup.description(&command.scheduler);
    match result {
        Ok(output) => {
            launch.state = State::Queued;
            if let Some(scheduler) = scheduler {
                let answer = String::from_utf8_lossy(&output.stdout);
                launch.batch_id = batch::parse_submitted(scheduler, &answer);
                if launch.batch_id.is_none() {
                    // It is looked for in the queue before anything is repeated.
                    launch.state = State::Unknown;
                    launch.reason = Some(format!("the answer has no batch id: {}", last_line(&answer)));
                }
            }
            None
        }
        // Whether the batch system took it before the end, only its queue can tell.
        Err(error) if may_have_submitted(&error) => {
            launch.state = State::Unknown;
            launch.reason = Some(first_line(&error));
            Some(format!("{error}\nhint: it is looked for in the queue before it is repeated"))
        }
        Err(error) => {
            launch.state = State::Failed;
            let words = refusal(&error);
            let is_permanent = scheduler.is_some_and(|scheduler| batch::is_permanent(scheduler, &words));
            launch.refused_config = is_permanent.then(|| fingerprint.to_owned());
            launch.reason = Some(words);
            let hint = if is_permanent {
                let instance = &launch.instance;
                format!("\nhint: nothing more is tried for `{instance}` before its `[launch]` changes")
            } else {
                match search_path::hint(&error, line, setup.environment) {
                    hint if hint.is_empty() => "\nhint: it is tried again later".to_owned(),
                    hint => hint,
                }
            };
            Some(format!("{error}{hint}"))
        }
    }
}

fn may_have_submitted(error: &ProcessError) -> bool {
    match error {
        ProcessError::TimedOut { .. } | ProcessError::Watch { .. } => true,
        // Ended by a signal: a shut-down, or a hand.
        ProcessError::Failed { status, .. } => status.0.code().is_none(),
        ProcessError::Start { .. } => false,
    }
}

/// In the batch system's own words, if it has any.
fn refusal(error: &ProcessError) -> String {
    match error {
        ProcessError::Failed { output, .. } if !output.trim().is_empty() => output.trim().to_owned(),
        ProcessError::Start { source, .. } => format!("{error}: {source}"),
        _ => first_line(error),
    }
}

fn first_line(error: &ProcessError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or("it is empty")
}
