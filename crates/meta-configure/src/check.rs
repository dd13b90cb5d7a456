//! `check`: what the reader cannot see: variables that are missing when a section is used.

use std::path::Path;

use meta_core::config::Config;
use meta_core::executor_settings;
use meta_core::instance::{expand_launch, expand_runner};
use meta_core::source::{Problem, Problems};
use meta_core::template::{ExpandError, Fault, Template};
use meta_core::variables::Variables;
use meta_host::configuration::variables;
use meta_host::files::{FileError, FileErrorKind, read_private};
use meta_host::{Environment, Failure, exit};

use crate::failure::ConfigureError;

/// Expands every section of every instance. Missing variables of `[executor]` are notes: it is expanded on the node.
pub(crate) fn run(config: &Config, environment: &Environment) -> Result<u8, ConfigureError> {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    for (name, instance) in &config.instances {
        let variables = variables(environment, name, &instance.config_variables);
        let found = expand_runner(&config.runner, &variables).err().into_iter();
        let found = found.chain(launch_error(config, &variables));
        faults.extend(found.flat_map(|error| error.faults));
        if let Some(Err(error)) =
            config.executor.as_ref().map(|executor| executor_settings::expand(executor, &variables))
        {
            let (missing, wrong): (Vec<_>, Vec<_>) =
                error.faults.into_iter().partition(|fault| fault.missing.is_some());
            notes.extend(missing);
            faults.extend(wrong);
        }
    }
    let problems_of =
        |faults: Vec<Fault>| merged(faults).iter().map(Fault::problem).collect::<Vec<Problem>>();
    for note in Problems::new(config.source.clone(), problems_of(notes)).texts() {
        log::warn!("on the compute node: {note}");
    }
    let mut problems = problems_of(faults);
    if let Some((name, instance)) = config.instances.first_key_value() {
        problems.extend(file_problems(config, &variables(environment, name, &instance.config_variables)));
    }
    if problems.is_empty() {
        return Ok(exit::DONE);
    }
    Err(ConfigureError::Expand(Problems::new(config.source.clone(), problems)))
}

/// What is wrong for several instances is told once, with their names.
fn merged(faults: Vec<Fault>) -> Vec<Fault> {
    let mut merged: Vec<Fault> = Vec::new();
    for fault in faults {
        let same = |other: &&mut Fault| (&other.span, &other.reason) == (&fault.span, &fault.reason);
        match merged.iter_mut().find(same) {
            Some(other) => other.instances.extend(fault.instances),
            None => merged.push(fault),
        }
    }
    merged
}

/// The files that the configuration names: the token must be private, both must be there.
fn file_problems(config: &Config, variables: &Variables) -> Vec<Problem> {
    let token = config.management_token_file.as_ref();
    let ca = config.ca_file.as_ref();
    let token =
        token.map(|template| problems_of_file(template, variables, |path| read_private(path).map(drop)));
    let ca = ca.map(|template| problems_of_file(template, variables, read));
    token.into_iter().chain(ca).flatten().collect()
}

fn problems_of_file(
    template: &Template,
    variables: &Variables,
    check: impl Fn(&Path) -> Result<(), FileError>,
) -> Vec<Problem> {
    let path = match template.expand(variables) {
        Ok(path) => path,
        Err(error) => return error.faults.iter().map(Fault::problem).collect(),
    };
    let problem = |error: FileError| Problem {
        span: template.span(),
        message: format!("`{}`: {error}: {}", template.key(), error.kind),
        hint: error.hint().or_else(|| Some("write the path of a file that you can read".to_owned())),
    };
    check(Path::new(&path)).err().map(problem).into_iter().collect()
}

/// Certificates are no secret: any mode is good.
fn read(path: &Path) -> Result<(), FileError> {
    let failed = |error| FileError { path: path.to_owned(), kind: FileErrorKind::Read(error) };
    std::fs::read(path).map(drop).map_err(failed)
}

/// With the description of its batch system.
fn launch_error(config: &Config, variables: &Variables) -> Option<ExpandError> {
    let mut variables = variables.clone();
    for name in ["CONFIG", "NUM_JOBS", "LAUNCH_ID"] {
        variables.builtins.insert(name.to_owned(), name.to_owned());
    }
    expand_launch(config.launch.as_ref()?, &config.schedulers, &variables).err()
}
