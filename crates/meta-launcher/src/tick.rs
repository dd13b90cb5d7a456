//! One tick: lease, ledger, facts, plan, apply. The ledger is saved before and after every submission.

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::{Action, plan};
use meta_core::command_line::CommandLine;
use meta_core::config::Config;
use meta_core::config::launch::LaunchConfig;
use meta_core::launches::{Launch, Ledger, State};
use meta_core::registrations;
use meta_gitlab::session;
use meta_host::arguments::Paths;
use meta_host::files::{make_private_dir, read_private, write_private};
use meta_host::lease::Lease;
use meta_host::{Environment, clock, configuration, exit, process};

use crate::failure::LauncherError;
use crate::{gather, submit};

/// A cron job that meets the one before it leaves soon.
const LEASE_WAIT: Duration = Duration::from_secs(5);

/// Launches what is missing now; returns an exit code.
pub(crate) fn once(paths: &Paths, environment: &Environment) -> Result<u8, LauncherError> {
    let config = configuration::load(&paths.config_file).map_err(LauncherError::Configuration)?;
    let launch = config.launch.clone().ok_or(LauncherError::NoLaunch)?;
    let name = config.name.as_str();
    make_private_dir(&paths.data_dir).map_err(LauncherError::File)?;
    let _lease = Lease::acquire(&paths.lease(name), LEASE_WAIT).map_err(LauncherError::Lease)?;
    let registrations = load(&paths.registrations(name), |path, text| {
        registrations::parse(text).map_err(|source| LauncherError::Registrations { path, source })
    })?
    .unwrap_or_default();
    let ledger = load(&paths.launches(name), |path, text| {
        Ledger::parse(text).map_err(|source| LauncherError::Ledger { path, source })
    })?
    .unwrap_or_default();
    let gitlab = session::connect(&config, environment).map_err(LauncherError::Session)?;
    let facts = gather::facts(
        &config,
        &launch,
        ledger.launches.clone(),
        &registrations,
        &gitlab,
        paths,
        environment,
    )?;
    let plan = plan(&facts);
    let mut tick = Tick { config: &config, launch: &launch, paths, environment, ledger };
    let mut failed = false;
    for action in plan.actions {
        failed |= tick.perform(action)?;
    }
    tick.ledger.prune(clock::now());
    tick.save()?;
    Ok(if failed { exit::PARTIAL } else { exit::DONE })
}

/// The text at `path`, understood by `parse`; `None` where there is no file yet.
fn load<T>(
    path: &std::path::Path,
    parse: impl FnOnce(PathBuf, &str) -> Result<T, LauncherError>,
) -> Result<Option<T>, LauncherError> {
    match read_private(path) {
        Ok(text) => parse(path.to_owned(), &text).map(Some),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(LauncherError::File(error)),
    }
}

struct Tick<'a> {
    config: &'a Config,
    launch: &'a LaunchConfig,
    paths: &'a Paths,
    environment: &'a Environment,
    ledger: Ledger,
}

impl Tick<'_> {
    /// Performs one action; true if it failed.
    fn perform(&mut self, action: Action) -> Result<bool, LauncherError> {
        match action {
            Action::Settle(settled) => {
                self.replace(settled);
                Ok(false)
            }
            Action::Cancel { id, batch_id } => {
                let command = CommandLine::new("scancel", [batch_id]);
                let result = process::run(&command, Duration::from_secs(self.launch.timeout_s))
                    .and_then(|output| output.require_success(&command));
                if let Err(error) = result {
                    log::error!("cannot cancel launch `{id}`: {error}");
                    return Ok(true);
                }
                if let Some(launch) = self.ledger.launches.iter_mut().find(|launch| launch.id == id) {
                    launch.state = State::Cancelled;
                    launch.changed = clock::now();
                }
                self.save().map(|()| false)
            }
            Action::Launch { instance, slots, jobs } => {
                let now = clock::now();
                // Unique among our launches: the time, this process, and how many are in the ledger.
                let id = format!("{now:x}-{:x}-{:x}", std::process::id(), self.ledger.launches.len());
                let mut command = gather::command(
                    self.config,
                    self.launch,
                    &instance,
                    &id,
                    slots,
                    self.paths,
                    self.environment,
                )?;
                let workdir = command.command.cwd.get_or_insert_with(|| self.paths.data_dir.clone());
                make_private_dir(workdir).map_err(LauncherError::File)?;
                let mut launch = Launch {
                    id,
                    instance,
                    elements: 1,
                    slots,
                    batch_id: None,
                    submitted: now,
                    changed: now,
                    state: State::Submitting,
                    reason: None,
                    jobs,
                    started: None,
                    surplus_since: None,
                    refused_config: None,
                };
                self.ledger.launches.push(launch.clone());
                self.save()?;
                submit::submit(
                    &mut launch,
                    command,
                    self.config.name.as_str(),
                    self.launch,
                    self.environment,
                );
                let failed = launch.state == State::Failed;
                if failed {
                    let reason = launch.reason.as_deref().unwrap_or("no reason given");
                    log::error!("the launch for instance `{}` was refused: {reason}", launch.instance);
                } else {
                    log::info!("launched `{}` for instance `{}`", launch.id, launch.instance);
                }
                self.replace(launch);
                self.save().map(|()| failed)
            }
        }
    }

    fn replace(&mut self, changed: Launch) {
        if let Some(launch) = self.ledger.launches.iter_mut().find(|launch| launch.id == changed.id) {
            *launch = changed;
        }
    }

    fn save(&self) -> Result<(), LauncherError> {
        let path = self.paths.launches(self.config.name.as_str());
        write_private(&path, self.ledger.render().as_bytes()).map_err(LauncherError::File)
    }
}
