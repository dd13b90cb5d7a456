//! The login node: configuration, launch command, GitLab.

use std::time::Duration;

use meta_core::command_line::CommandLine;
use meta_core::config::Config;
use meta_core::template::Template;
use meta_host::arguments::Paths;
use meta_host::configuration::{ConfigurationError, variables};
use meta_host::{Environment, Failure as _, process};

use super::machine::{apptainer, program};
use super::{Finding, Verdict, fail, ok, warn};

/// Some dozens of requests, and retries.
const GITLAB_WAIT: Duration = Duration::from_secs(120);

pub(super) fn check(
    config: Result<Config, ConfigurationError>,
    paths: &Paths,
    environment: &Environment,
) -> Vec<Finding> {
    let (config, loaded) = match config {
        Ok(config) => (Some(config), ok(format!("configuration: {}", paths.config_file.display()))),
        Err(error) => (None, fail(format!("configuration:\n{}", error.report()))),
    };
    let mut findings = vec![loaded];
    findings.extend(config.as_ref().and_then(|config| launch_command(config, environment)));
    let named = config.as_ref().and_then(|config| {
        expanded(config, config.executor.as_ref()?.apptainer_executable.as_ref()?, environment)
    });
    let on_nodes = [
        apptainer(named.as_deref(), environment),
        program("gitlab-runner", environment),
        program("git", environment),
    ];
    findings.extend(on_nodes.map(not_here));
    if config.is_some() {
        findings.push(gitlab(paths, environment));
    }
    findings
}

/// What only the compute nodes need is no failure here.
fn not_here(finding: Finding) -> Finding {
    match finding.verdict {
        Verdict::Fail => warn(format!("{} (the compute nodes need it, not this one)", finding.text)),
        _ => finding,
    }
}

fn launch_command(config: &Config, environment: &Environment) -> Option<Finding> {
    let template = &config.launch.as_ref()?.executable;
    Some(match expanded(config, template, environment) {
        Some(name) => program(&name, environment),
        None => warn("launch command: its name depends on a variable that is not set here".to_owned()),
    })
}

fn expanded(config: &Config, template: &Template, environment: &Environment) -> Option<String> {
    let (name, instance) = config.instances.first_key_value()?;
    template.expand(&variables(environment, name, &instance.config_variables)).ok()
}

/// Plans a registration, which asks GitLab about the token, the projects and the runners, and changes nothing.
fn gitlab(paths: &Paths, environment: &Environment) -> Finding {
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let args = [
        "--dry-run".to_owned(),
        "--config-file".to_owned(),
        path(&paths.config_file),
        "--data-dir".to_owned(),
        path(&paths.data_dir),
    ];
    let command = CommandLine::new(environment.beside("meta-register"), args);
    let output = match process::run(&command, GITLAB_WAIT) {
        Ok(output) => output,
        Err(error) => return fail(format!("GitLab:\n{}", error.report())),
    };
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    match (output.status.success(), said.is_empty()) {
        (true, true) => ok("GitLab: the management token may look at projects and runners".to_owned()),
        (true, false) => warn(format!("GitLab:\n{said}")),
        (false, _) => fail(format!("GitLab:\n{said}")),
    }
}
