//! What a tick works with: the configuration, where things are, and the registrations.

use std::path::{Path, PathBuf};

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

use crate::failure::LauncherError;

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
        let mut variables = self.variables(instance);
        let generated = self.paths.generated_config(self.name()).display().to_string();
        for (name, value) in
            [("CONFIG", generated), ("NUM_JOBS", slots.to_string()), ("LAUNCH_ID", id.to_owned())]
        {
            variables.builtins.insert(name.to_owned(), value);
        }
        expand_launch(&self.launch, &self.config.schedulers, &variables)
            .map_err(|error| LauncherError::Expand(error.report(&self.config.source)))
    }

    /// The description of a scheduler, if it is one that can be asked.
    pub(crate) fn description(&self, scheduler: &Scheduler) -> Option<&SchedulerConfig> {
        match scheduler {
            Scheduler::Known(name) => self.config.schedulers.get(name),
            Scheduler::None => None,
        }
    }

    /// Templates of a batch system's description, with the variables of an instance and these.
    pub(crate) fn expand(
        &self,
        instance: &InstanceName,
        templates: &[Template],
        builtins: &[(&str, &str)],
    ) -> Result<Vec<String>, LauncherError> {
        let mut variables = self.variables(instance);
        variables.builtins.extend(builtins.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let expanded = templates.iter().map(|template| self.text(template, &variables));
        expanded.collect()
    }

    fn text(&self, template: &Template, variables: &Variables) -> Result<String, LauncherError> {
        template.expand(variables).map_err(|error| LauncherError::Expand(error.report(&self.config.source)))
    }

    /// Those that every section of an instance knows.
    fn variables(&self, instance: &InstanceName) -> Variables {
        let settings = &self.config.instances[instance];
        configuration::variables(self.environment, instance, &settings.config_variables)
    }

    /// Where the figures for Prometheus go.
    pub(crate) fn metrics_file(&self) -> Result<Option<PathBuf>, LauncherError> {
        let Some(template) = &self.config.poll.metrics_file else { return Ok(None) };
        let environment = self.environment.variables.clone();
        let path = self.text(template, &Variables { environment, ..Variables::default() })?;
        Ok(Some(self.environment.current_dir.join(path)))
    }
}

/// The text at `path`, understood by `parse`; `None` where there is no file yet.
fn read<T>(
    path: &Path,
    parse: impl FnOnce(PathBuf, &str) -> Result<T, LauncherError>,
) -> Result<Option<T>, LauncherError> {
    let text = read_private_if_any(path).map_err(LauncherError::File)?;
    text.map(|text| parse(path.to_owned(), &text)).transpose()
}
