//! The batch system, asked once a tick by the commands of its description.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::batch;
use crate::facts::{Batch, QueueEntry};
use meta_core::command_line::CommandLine;
use meta_core::config::schedulers::assignment;
use meta_core::launches::Launch;
use meta_core::name::InstanceName;
use meta_core::template::Template;
use meta_host::process::{self, ProcessError};

use crate::failure::LauncherError;
use crate::search_path;
use crate::setup::Setup;
use crate::sites::System;
use crate::troubles::Troubles;

const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Lists the jobs, and looks up how those of `launches` ended that are gone from the list. A query that fails says
/// nothing: above all not that the queue is empty. `about` is what `troubles` call the batch system.
pub(crate) fn look(
    setup: &Setup<'_>,
    system: &System<'_>,
    about: &str,
    launches: &[&Launch],
    troubles: &mut Troubles,
) -> Result<Batch, LauncherError> {
    let scheduler = system.description;
    let command = command(setup, &system.instance, &scheduler.query, &[])?;
    let text = match ask(&command) {
        Ok(output) if output.truncated => {
            let text = format!(
                "{about} says too much, so nothing is launched: `{command}` printed more than {} MiB\nhint: let `query` in `[schedulers]` ask for this account's jobs only",
                process::OUTPUT_LIMIT >> 20
            );
            troubles.error(about, &text);
            return Ok(Batch::Unknown);
        }
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            let hint = search_path::hint(&error, &command, setup.environment);
            let text = format!("{about} does not answer, so nothing is launched: {error}{hint}");
            troubles.error(about, &text);
            return Ok(Batch::Unknown);
        }
    };
    let mut entries = match batch::parse_queue(scheduler, &text) {
        Ok(entries) => entries,
        Err(misread) => {
            let text = format!(
                "the answer of {about} is not understood, so nothing is launched: `{command}`: {misread}\nhint: call it by hand, and mend `entry` or `heading` in `[schedulers]` if that is what it always says"
            );
            troubles.error(about, &text);
            return Ok(Batch::Unknown);
        }
    };
    troubles.over(about);
    entries.extend(history(setup, system, launches, &entries)?);
    Ok(Batch::Known(entries))
}

fn history(
    setup: &Setup<'_>,
    system: &System<'_>,
    launches: &[&Launch],
    entries: &[QueueEntry],
) -> Result<Vec<QueueEntry>, LauncherError> {
    let scheduler = system.description;
    let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.batch_id.as_str()).collect();
    let live = launches.iter().filter(|launch| launch.state.is_live());
    let gone: Vec<&str> =
        live.filter_map(|launch| launch.batch_id.as_deref()).filter(|id| !listed.contains(id)).collect();
    if gone.is_empty() || scheduler.history.is_empty() {
        return Ok(Vec::new());
    }
    let command = command(setup, &system.instance, &scheduler.history, &[("IDS", &gone.join(","))])?;
    // Many sites have no accounting; the launches are judged without it.
    Ok(ask(&command).map_or_else(
        |error| {
            log::debug!("no history: {error}");
            Vec::new()
        },
        |output| batch::parse_history(scheduler, &String::from_utf8_lossy(&output.stdout)),
    ))
}

/// A command of the description, with the variables of an instance. Variables by which the admin made the program print something else for people are not
/// passed on: `SQUEUE_PARTITION` would hide our launches.
pub(crate) fn command(
    setup: &Setup<'_>,
    instance: &InstanceName,
    words: &[Template],
    variables: &[(&str, &str)],
) -> Result<CommandLine, LauncherError> {
    let mut words = setup.expand(instance, words, variables)?.into_iter().peekable();
    let assigned: Vec<(String, String)> = std::iter::from_fn(|| {
        let word = words.next_if(|word| assignment(word).is_some())?;
        assignment(&word).map(|(name, value)| (name.to_owned(), value.to_owned()))
    })
    .collect();
    let mut command = CommandLine::new(words.next().unwrap_or_default(), words);
    let program = command.program.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    let own = format!("{program}_");
    let inherited = setup.environment.variables.iter().filter(|(name, _)| !name.starts_with(&own));
    command.clear_env = true;
    command.env = inherited.map(|(name, value)| (name.clone(), value.clone())).collect();
    command.env.extend(assigned);
    Ok(command)
}

fn ask(command: &CommandLine) -> Result<process::Output, ProcessError> {
    process::run(command, QUERY_TIMEOUT)?.require_success(command)
}
