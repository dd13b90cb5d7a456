//! The configuration file, loaded; and the variables that its templates see here.

use std::collections::BTreeMap;
use std::path::Path;

use meta_core::config::{self, Config};
use meta_core::name::InstanceName;
use meta_core::source::Problems;
use meta_core::variables::Variables;

use crate::files::{self, FileError};
use crate::{Environment, Failure, exit};

/// Reads and parses the configuration.
///
/// # Errors
/// A file that cannot be read or is open to others; everything that is wrong in it.
pub fn load(path: &Path) -> Result<Config, ConfigurationError> {
    let text = files::read_private(path).map_err(ConfigurationError::File)?;
    config::parse(path, &text).map_err(ConfigurationError::Problems)
}

/// The variables of one instance: the built-ins that every section has, its own, and the environment.
pub fn variables(
    environment: &Environment,
    instance: &InstanceName,
    config_variables: &BTreeMap<String, String>,
) -> Variables {
    let beside = |program: &str| environment.beside(program).to_string_lossy().into_owned();
    let builtins = [
        ("NAME", instance.to_string()),
        ("THIS", beside("gitlab-meta-runner")),
        ("EXECUTOR", beside("meta-executor")),
    ];
    Variables {
        builtins: builtins.map(|(name, value)| (name.to_owned(), value)).into(),
        config_variables: config_variables.clone(),
        environment: environment.variables.clone(),
    }
}

/// There is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    #[error("no usable configuration")]
    File(#[source] FileError),
    #[error("the configuration has problems")]
    Problems(#[source] Problems),
}

impl Failure for ConfigurationError {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }

    fn report(&self) -> String {
        match self {
            Self::File(error) if error.is_missing() => {
                format!(
                    "{}\nhint: run `gitlab-meta-runner create-example-config` to make one, or name yours with `--config-file`",
                    error.report()
                )
            }
            Self::File(error) => error.report(),
            Self::Problems(problems) => problems.report(),
        }
    }
}

impl Failure for Problems {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }

    fn report(&self) -> String {
        self.to_string()
    }
}
