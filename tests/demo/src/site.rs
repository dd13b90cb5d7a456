//! The site: one configuration file for the batch system that is there, and the programs that read it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::arguments::Arguments;
use crate::failure::DemoError;
use crate::gitlab::GitLab;
use crate::place::Place;
use crate::runner::{beside, program};

const CONFIG: &str = include_str!("../config/gitlab-meta-runner.toml");
const LAUNCH_SLURM: &str = include_str!("../config/launch-slurm.toml");
const LAUNCH_NONE: &str = include_str!("../config/launch-none.toml");

#[derive(Debug)]
pub(crate) struct Site {
    config: PathBuf,
    data: PathBuf,
    search_path: String,
    token: String,
    slurm: bool,
    registry: Option<String>,
}

/// Variables of the pipeline that name its images.
pub(crate) type Images = Vec<(&'static str, String)>;

impl Site {
    /// Writes the configuration.
    ///
    /// # Errors
    /// Apptainer is missing, or the file cannot be written.
    pub(crate) fn write(place: &Place, gitlab: &GitLab, arguments: &Arguments) -> Result<Self, DemoError> {
        if program("apptainer").is_none() {
            let hint = "the demo's jobs run in it; without --host the demo brings its own";
            return Err(DemoError::Missing { program: "apptainer", hint });
        }
        let registry = arguments.registry.as_deref();
        let slurm = !arguments.no_batch_system && program("sbatch").is_some();
        let launch = if slurm { LAUNCH_SLURM } else { LAUNCH_NONE };
        let insecure = registry.map(|registry| format!("insecure_registries = [\"{registry}\"]\n"));
        let config = CONFIG.replace("[executor]\n", &format!("[executor]\n{}", insecure.unwrap_or_default()));
        let text = format!("{config}{launch}")
            .replace("@URL@", gitlab.url())
            .replace("@NAME@", &place.name())
            .replace("@DIRECTORY@", &place.path().display().to_string());
        Ok(Self {
            config: place.write("gitlab-meta-runner.toml", &text)?,
            data: place.join("data"),
            search_path: place.search_path(),
            token: gitlab.management_token(),
            slurm,
            registry: registry.map(str::to_owned),
        })
    }

    pub(crate) fn batch_system(&self) -> &'static str {
        if self.slurm { "Slurm" } else { "none, jobs start on this machine" }
    }

    /// Runs `gitlab-meta-runner COMMAND`, whose messages go to stderr.
    pub(crate) fn front(&self, command: &str) -> Result<(), DemoError> {
        let program = beside("gitlab-meta-runner");
        let output = Command::new(&program)
            .arg("--config-file")
            .arg(&self.config)
            .arg("--data-dir")
            .arg(&self.data)
            .arg(command)
            .env("PATH", &self.search_path)
            .env("META_RUNNER_MANAGEMENT_TOKEN", &self.token)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| DemoError::Start { program: program.display().to_string(), source })?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() {
            text.lines().for_each(|line| eprintln!("demo:   {line}"));
            return Ok(());
        }
        let program = format!("gitlab-meta-runner {command}");
        Err(DemoError::Failed { program, status: output.status, output: text })
    }

    /// The images of the jobs, and the variable that the ENTRYPOINT of one of them sets.
    pub(crate) fn images(&self) -> Images {
        let [debian, small, entrypoint, sets] = match &self.registry {
            Some(registry) => [
                format!("{registry}/debian:sid"),
                format!("{registry}/busybox:latest"),
                format!("{registry}/entrypoint:latest"),
                "FROM_ENTRYPOINT".to_owned(),
            ],
            // The entrypoint of `docker:cli` looks for a daemon and puts its address into DOCKER_HOST.
            None => ["debian:stable-slim", "busybox:latest", "docker:cli", "DOCKER_HOST"].map(str::to_owned),
        };
        vec![
            ("DEBIAN_IMAGE", debian),
            ("SMALL_IMAGE", small),
            ("ENTRYPOINT_IMAGE", entrypoint),
            ("ENTRYPOINT_SETS", sets),
        ]
    }
}
