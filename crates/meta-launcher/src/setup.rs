//! What a tick works with: the configuration, where things are, and the registrations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::batch;
use crate::facts::{Obstacle, Site};
use meta_core::config::Config;
use meta_core::config::launch::{LaunchConfig, Scheduler};
use meta_core::config::schedulers::SchedulerConfig;
use meta_core::instance::{LaunchCommand, expand_launch};
use meta_core::launches::Ledger;
use meta_core::name::InstanceName;
use meta_core::registrations::{self, Registrations};
use meta_core::template::Template;
use meta_core::variables::Variables;
use meta_host::arguments::Paths;
use meta_host::files::read_private_if_any;
use meta_host::{Environment, clock, configuration};
use sha2::{Digest, Sha256};

use crate::failure::LauncherError;
use crate::troubles::Troubles;

/// One configuration, and its surroundings.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) config: Config,
    pub(crate) launch: LaunchConfig,
    pub(crate) paths: &'a Paths,
    pub(crate) environment: &'a Environment,
}

impl<'a> Setup<'a> {
    pub(crate) fn load(paths: &'a Paths, environment: &'a Environment) -> Result<Self, LauncherError> {
        let config = configuration::load(&paths.config_file).map_err(LauncherError::Configuration)?;
        let launch = config.launch.clone().ok_or(LauncherError::NoLaunch)?;
        Ok(Self { config, launch, paths, environment })
    }

    pub(crate) fn name(&self) -> &str {
        self.config.name.as_str()
    }

    /// Those of instances that the configuration has.
    pub(crate) fn registrations(&self) -> Result<Registrations, LauncherError> {
        let mut registrations = read(&self.paths.registrations(self.name()), |path, text| {
            registrations::parse(text).map_err(|source| LauncherError::Registrations { path, source })
        })?
        .unwrap_or_default();
        registrations.retain(|name, _| self.config.instances.contains_key(name));
        Ok(registrations)
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, LauncherError> {
        let ledger = read(&self.paths.launches(self.name()), |path, text| {
            Ledger::parse(text).map_err(|source| LauncherError::Ledger { path, source })
        })?;
        let mut ledger = ledger.unwrap_or_default();
        ledger.end_at(clock::now());
        Ok(ledger)
    }

    /// The launch command of one instance, with the variables that only `[launch]` has.
    pub(crate) fn command(
        &self,
        instance: &InstanceName,
        id: &str,
        slots: u32,
    ) -> Result<LaunchCommand, LauncherError> {
        let settings = &self.config.instances[instance];
        let mut variables = configuration::variables(self.environment, instance, &settings.config_variables);
        let generated = self.paths.generated_config(self.name()).display().to_string();
        for (name, value) in
            [("CONFIG", generated), ("NUM_JOBS", slots.to_string()), ("LAUNCH_ID", id.to_owned())]
        {
            variables.builtins.insert(name.to_owned(), value);
        }
        expand_launch(&self.launch, &variables)
            .map_err(|error| LauncherError::Expand(error.report(&self.config.source)))
    }

    /// The description of a scheduler, if it is one that can be asked.
    pub(crate) fn description(&self, scheduler: &Scheduler) -> Option<&SchedulerConfig> {
        match scheduler {
            Scheduler::Known(name) => self.config.schedulers.get(name),
            Scheduler::None => None,
        }
    }

    /// How and as whom each registered instance is launched, and the scheduler that can be asked for them. An instance whose
    /// launch command cannot be made is told, and does not stop the others.
    ///
    /// # Errors
    /// There is none for any instance.
    pub(crate) fn sites(
        &self,
        registrations: &Registrations,
        troubles: &mut Troubles,
    ) -> Result<(BTreeMap<InstanceName, Site>, Option<&SchedulerConfig>), LauncherError> {
        let (mut sites, mut asked) = (BTreeMap::new(), None);
        let mut failures = Vec::new();
        for (name, registration) in registrations {
            let command = match self.command(name, "", 1) {
                Ok(command) => command,
                Err(error) => {
                    failures.push((name, error));
                    sites.insert(name.clone(), self.site_without_command(registration.id));
                    continue;
                }
            };
            troubles.over(&about_command(name));
            let description = self.description(&command.scheduler);
            let makes_arrays = description.is_some_and(|scheduler| {
                !scheduler.array_args.is_empty() && !batch::asks_for_array(scheduler, &command.command)
            });
            let site = Site {
                runner: registration.id,
                can_be_asked: description.is_some(),
                max_array: if makes_arrays { self.launch.max_array } else { 1 },
                start_grace_s: self.launch.start_grace_s,
                fingerprint: fingerprint(&command),
                obstacle: None,
            };
            sites.insert(name.clone(), site);
            asked = asked.or(description);
        }
        if failures.len() == sites.len()
            && let Some((_, error)) = failures.pop()
        {
            return Err(error);
        }
        for (name, error) in failures {
            troubles.failure(&about_command(name), &error);
        }
        // Without a registration an instance may still have launches in the queue.
        let asked = asked.or_else(|| {
            let mut commands = self.config.instances.keys().filter_map(|name| self.command(name, "", 1).ok());
            commands.find_map(|command| self.description(&command.scheduler))
        });
        Ok((sites, asked))
    }

    /// Launches from before may be there.
    fn site_without_command(&self, runner: u64) -> Site {
        Site {
            runner,
            can_be_asked: true,
            max_array: 1,
            start_grace_s: self.launch.start_grace_s,
            fingerprint: String::new(),
            obstacle: Some(Obstacle::NoCommand),
        }
    }

    /// Templates outside of an instance, with variables of their own.
    pub(crate) fn expand(
        &self,
        templates: &[Template],
        builtins: &[(&str, &str)],
    ) -> Result<Vec<String>, LauncherError> {
        let pairs = builtins.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let variables = Variables {
            builtins: pairs.collect(),
            environment: self.environment.variables.clone(),
            ..Variables::default()
        };
        templates
            .iter()
            .map(|template| template.expand(&variables))
            .collect::<Result<_, _>>()
            .map_err(|error| LauncherError::Expand(error.report(&self.config.source)))
    }

    /// Where the figures for Prometheus go.
    pub(crate) fn metrics_file(&self) -> Result<Option<PathBuf>, LauncherError> {
        let Some(template) = &self.config.poll.metrics_file else { return Ok(None) };
        let path = self.expand(std::slice::from_ref(template), &[])?.concat();
        Ok(Some(self.environment.current_dir.join(path)))
    }
}

/// What [`Troubles`] calls a launch command that cannot be made.
fn about_command(name: &InstanceName) -> String {
    format!("`[launch]` of `{name}`")
}

/// Changes with everything that could make a refused submission succeed.
fn fingerprint(command: &LaunchCommand) -> String {
    let digest = Sha256::digest(format!("{:?} {:?}", command.command, command.scheduler).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The text at `path`, understood by `parse`; `None` where there is no file yet.
fn read<T>(
    path: &Path,
    parse: impl FnOnce(PathBuf, &str) -> Result<T, LauncherError>,
) -> Result<Option<T>, LauncherError> {
    let text = read_private_if_any(path).map_err(LauncherError::File)?;
    text.map(|text| parse(path.to_owned(), &text)).transpose()
}
