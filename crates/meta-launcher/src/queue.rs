//! The batch system, asked once a tick by the commands of its description.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::batch;
use crate::facts::{Batch, QueueEntry};
use meta_core::command_line::CommandLine;
use meta_core::config::schedulers::SchedulerConfig;
use meta_core::launches::Launch;
use meta_core::template::Template;
use meta_host::process::{self, ProcessError};

use crate::failure::LauncherError;
use crate::search_path;
use crate::setup::Setup;
use crate::troubles::Troubles;

const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Lists the jobs, and looks up how those of `launches` ended that are gone from the list. A query that fails says
/// nothing: above all not that the queue is empty.
pub(crate) fn look(
    setup: &Setup<'_>,
    scheduler: &SchedulerConfig,
    launches: &[Launch],
    troubles: &mut Troubles,
) -> Result<Batch, LauncherError> {
    let command = command(setup, &scheduler.query, &[])?;
    let text = match ask(&command) {
        Ok(text) => text,
        Err(error) => {
            let hint = search_path::hint(&error, &command, setup.environment);
            let text = format!("the batch system does not answer, so nothing is launched: {error}{hint}");
            troubles.error("batch", &text);
            return Ok(Batch::Unknown);
        }
    };
    troubles.over("batch");
    let mut entries = batch::parse_queue(scheduler, &text);
    entries.extend(history(setup, scheduler, launches, &entries)?);
    Ok(Batch::Known(entries))
}

fn history(
    setup: &Setup<'_>,
    scheduler: &SchedulerConfig,
    launches: &[Launch],
    entries: &[QueueEntry],
) -> Result<Vec<QueueEntry>, LauncherError> {
    let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.batch_id.as_str()).collect();
    let live = launches.iter().filter(|launch| launch.state.is_live());
    let gone: Vec<&str> =
        live.filter_map(|launch| launch.batch_id.as_deref()).filter(|id| !listed.contains(id)).collect();
    if gone.is_empty() || scheduler.history.is_empty() {
        return Ok(Vec::new());
    }
    let command = command(setup, &scheduler.history, &[("IDS", &gone.join(","))])?;
    // Many sites have no accounting; the launches are judged without it.
    Ok(ask(&command).map_or_else(
        |error| {
            log::debug!("no history: {error}");
            Vec::new()
        },
        |text| batch::parse_history(scheduler, &text),
    ))
}

/// A command of the description.
pub(crate) fn command(
    setup: &Setup<'_>,
    words: &[Template],
    variables: &[(&str, &str)],
) -> Result<CommandLine, LauncherError> {
    let mut words = setup.expand(words, variables)?.into_iter();
    Ok(CommandLine::new(words.next().unwrap_or_default(), words))
}

fn ask(command: &CommandLine) -> Result<String, ProcessError> {
    let output = process::run(command, QUERY_TIMEOUT)?.require_success(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
