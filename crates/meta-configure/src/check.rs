//! `check`: what the reader cannot see: variables that are missing when a section is used.

use meta_core::config::Config;
use meta_core::config::launch::LaunchConfig;
use meta_core::instance::{expand_executor, expand_launch, expand_runner};
use meta_core::source::{Problem, Problems};
use meta_core::variables::Variables;
use meta_host::configuration::variables;
use meta_host::{Environment, exit};

use crate::failure::ConfigureError;

/// Expands every section of every instance. Missing variables of `[executor]` are notes: it is expanded on the node.
pub(crate) fn run(config: &Config, environment: &Environment) -> Result<u8, ConfigureError> {
    let mut problems: Vec<Problem> = Vec::new();
    for (name, instance) in &config.instances {
        let variables = variables(environment, name, &instance.config_variables);
        problems.extend(expand_runner(&config.runner, &variables).err().map(|error| error.problem));
        problems.extend(config.launch.as_ref().and_then(|launch| launch_problem(launch, &variables)));
        if let Some(Err(error)) =
            config.executor.as_ref().map(|executor| expand_executor(executor, &variables))
        {
            log::warn!("on the compute node: {error}");
        }
    }
    if problems.is_empty() {
        return Ok(exit::DONE);
    }
    Err(ConfigureError::Expand(Problems::new(config.source.clone(), problems)))
}

fn launch_problem(launch: &LaunchConfig, variables: &Variables) -> Option<Problem> {
    let mut variables = variables.clone();
    for name in ["CONFIG", "NUM_JOBS", "LAUNCH_ID"] {
        variables.builtins.insert(name.to_owned(), name.to_owned());
    }
    expand_launch(launch, &variables).err().map(|error| error.problem)
}
