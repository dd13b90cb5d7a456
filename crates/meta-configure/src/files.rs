//! `render`: everything is rendered first, then everything is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta_core::config::Config;
use meta_core::executor_file::{ExecutorFile, ExecutorInstance};
use meta_core::instance::expand_runner;
use meta_core::registrations::{self, Registrations};
use meta_core::template::ExpandError;
use meta_host::arguments::Paths;
use meta_host::configuration::variables;
use meta_host::files::{make_data_dir, read_private_if_any, write_private};
use meta_host::lease::Lease;
use meta_host::{Environment, exit};
use toml_edit::Item;

use crate::failure::ConfigureError;
use crate::render::{self, Runner, Shared};

/// `meta-register` or a tick usually ends within this time.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// Writes gitlab-runner's and the executor's files. An instance without a registration is left out and makes the result
/// partial.
pub(crate) fn render(
    config: &Config,
    paths: &Paths,
    environment: &Environment,
) -> Result<u8, ConfigureError> {
    let expand_error = |error: ExpandError| ConfigureError::Expand(error.report(&config.source));
    let name = config.name.as_str();
    // Without it a token that is replaced meanwhile would be overwritten by the old one.
    make_data_dir(&paths.data_dir).map_err(ConfigureError::File)?;
    let _lease = Lease::acquire(&paths.lease(name), LEASE_WAIT).map_err(ConfigureError::Lease)?;
    let registered = load_registrations(&paths.registrations(name))?;
    let mut runners = Vec::new();
    let mut instances = BTreeMap::new();
    for (instance, settings) in &config.instances {
        let variables = variables(environment, instance, &settings.config_variables);
        let section = expand_runner(&config.runner, &variables).map_err(expand_error)?;
        let directory = |key: &str| section.get(key).and_then(Item::as_str).map(PathBuf::from);
        instances.insert(
            instance.clone(),
            ExecutorInstance {
                builds_dir: directory("builds_dir"),
                cache_dir: directory("cache_dir"),
                config_variables: settings.config_variables.clone(),
            },
        );
        match registered.get(instance) {
            Some(registration) => runners.push(Runner { name: instance, registration, section }),
            None => log::warn!(
                "instance `{instance}` is not registered and is left out of gitlab-runner's configuration"
            ),
        }
    }
    if runners.is_empty() {
        return Err(ConfigureError::NotRegistered);
    }
    let missing = config.instances.len() - runners.len();
    let first = config
        .instances
        .first_key_value()
        .map(|(name, settings)| variables(environment, name, &settings.config_variables));
    let ca_file = match (&config.ca_file, &first) {
        // gitlab-runner reads it from another directory.
        (Some(template), Some(variables)) => {
            Some(environment.current_dir.join(template.expand(variables).map_err(expand_error)?))
        }
        _ => None,
    };
    let ours = ["gitlab-meta-runner", "meta-executor"]
        .map(|program| environment.beside(program).display().to_string());
    let shared = Shared {
        url: &config.url,
        ca_file: ca_file.as_deref().and_then(Path::to_str),
        data_dir: &paths.data_dir,
        ours: [&ours[0], &ours[1]],
    };
    let runner_text = render::render(runners, &shared);
    // Without `[executor]`, too: the executor finds its instances in this file.
    let executor = config.executor.clone().unwrap_or_default();
    let executor_file =
        ExecutorFile { name: config.name.clone(), executor, instances, source: config.source.clone() };
    let executor_text = executor_file.render();
    write_private(&paths.generated_config(name), runner_text.as_bytes()).map_err(ConfigureError::File)?;
    write_private(&paths.executor_file(name), executor_text.as_bytes()).map_err(ConfigureError::File)?;
    Ok(if missing == 0 { exit::DONE } else { exit::PARTIAL })
}

fn load_registrations(path: &Path) -> Result<Registrations, ConfigureError> {
    let text =
        read_private_if_any(path).map_err(ConfigureError::File)?.ok_or(ConfigureError::NotRegistered)?;
    registrations::parse(&text)
        .map_err(|source| ConfigureError::Registrations { path: path.to_owned(), source })
}
