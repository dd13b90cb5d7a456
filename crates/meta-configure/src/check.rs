//! `check`: what the reader cannot see: variables that are missing when a section is used.

use std::path::Path;

use meta_core::config::Config;
use meta_core::config::launch::LaunchConfig;
use meta_core::instance::{expand_executor, expand_launch, expand_runner};
use meta_core::source::{Problem, Problems};
use meta_core::template::Template;
use meta_core::variables::Variables;
use meta_host::configuration::variables;
use meta_host::files::{FileError, FileErrorKind, read_private};
use meta_host::{Environment, Failure, exit};

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
    if let Some((name, instance)) = config.instances.first_key_value() {
        problems.extend(file_problems(config, &variables(environment, name, &instance.config_variables)));
    }
    if problems.is_empty() {
        return Ok(exit::DONE);
    }
    Err(ConfigureError::Expand(Problems::new(config.source.clone(), problems)))
}

/// The files that the configuration names: the token must be private, both must be there.
fn file_problems(config: &Config, variables: &Variables) -> Vec<Problem> {
    let token = config.management_token_file.as_ref();
    let ca = config.ca_file.as_ref();
    token
        .and_then(|template| file_problem(template, variables, |path| read_private(path).map(drop)))
        .into_iter()
        .chain(ca.and_then(|template| file_problem(template, variables, read)))
        .collect()
}

fn file_problem(
    template: &Template,
    variables: &Variables,
    check: impl Fn(&Path) -> Result<(), FileError>,
) -> Option<Problem> {
    let path = match template.expand(variables) {
        Ok(path) => path,
        Err(error) => return Some(error.problem),
    };
    let error = check(Path::new(&path)).err()?;
    Some(Problem {
        span: template.span(),
        message: format!("`{}`: {error}: {}", template.key(), error.kind),
        hint: error.hint().or_else(|| Some("write the path of a file that you can read".to_owned())),
    })
}

/// Certificates are no secret: any mode is good.
fn read(path: &Path) -> Result<(), FileError> {
    let failed = |error| FileError { path: path.to_owned(), kind: FileErrorKind::Read(error) };
    std::fs::read(path).map(drop).map_err(failed)
}

fn launch_problem(launch: &LaunchConfig, variables: &Variables) -> Option<Problem> {
    let mut variables = variables.clone();
    for name in ["CONFIG", "NUM_JOBS", "LAUNCH_ID"] {
        variables.builtins.insert(name.to_owned(), name.to_owned());
    }
    expand_launch(launch, &variables).err().map(|error| error.problem)
}
