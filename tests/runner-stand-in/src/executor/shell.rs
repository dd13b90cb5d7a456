//! The shell executor: the scripts run on this host, in a login shell, with our environment. The baseline for figures.
#![expect(
    clippy::disallowed_methods,
    reason = "defaults hang on the directory and the program that run the job"
)]

use super::process::{self, Failure, Launch};
use crate::build::failure::{JobError, Reason};
use crate::build::{Build, directories};
use crate::config::Runner;
use crate::executor::process::KillTimes;
use crate::joblog::Source;
use crate::scope::Scope;

#[derive(Debug)]
pub(crate) struct ShellExecutor {
    builds_dir: String,
    cache_dir: String,
    pub(crate) shell: String,
    pub(crate) own_path: String,
}

impl ShellExecutor {
    pub(super) fn new(runner: &Runner) -> Self {
        let here = std::env::current_dir().unwrap_or_default();
        let or_below = |configured: &str, name: &str| match configured {
            "" => here.join(name).to_string_lossy().into_owned(),
            _ => configured.to_owned(),
        };
        Self {
            builds_dir: or_below(&runner.builds_dir, "builds"),
            cache_dir: or_below(&runner.cache_dir, "cache"),
            shell: if runner.shell.is_empty() { "bash".to_owned() } else { runner.shell.clone() },
            own_path: std::env::current_exe().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    pub(super) fn prepare(&self, build: &mut Build) -> Result<(), JobError> {
        directories::settle(build, &self.builds_dir, &self.cache_dir, true)?;
        build.log.plain(&format!("Using Shell ({}) executor...", self.shell));
        Ok(())
    }

    pub(super) fn run(&self, build: &Build, script: &str, scope: &Scope) -> Result<(), JobError> {
        let launch = Launch {
            program: self.shell.clone(),
            args: vec!["-l".to_owned()],
            env: std::env::vars_os().collect(),
            directory: None,
            stdin: Some(script.to_owned()),
        };
        let out = Box::new(build.log.stream(Source::WorkOut));
        let err = Box::new(build.log.stream(Source::WorkErr));
        let ended =
            process::run(&launch, out, err, scope, KillTimes::default(), |text| build.log.warning(text));
        ended.map_err(|failure| {
            let exit_code = match &failure {
                Failure::Exit(code) => *code,
                Failure::Signal(_) => -1,
                Failure::Other(message) => return JobError::System(message.clone()),
            };
            JobError::Build { message: failure.to_string(), exit_code, reason: Reason::ScriptFailure }
        })
    }
}
