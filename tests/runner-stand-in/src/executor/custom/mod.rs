//! The custom executor: a driver of four programs, called as gitlab-runner calls it.
//!
//! The contract is in gitlab-runner's `executors/custom`: a temporary directory per attempt, a fixed environment, and
//! exit codes 1 (the job failed) and 2 (the system failed).

mod answer;
mod environment;
mod output;
mod verdict;

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use output::{Kept, RunnerLog};

use super::process::{self, KillTimes, Launch, Sink};
use crate::build::failure::JobError;
use crate::build::{Build, directories};
use crate::config::{Custom, Runner};
use crate::joblog::Source;
use crate::random;
use crate::scope::{End, Scope};

/// For each of config, prepare and cleanup, unless configured.
const EXEC_TIMEOUT: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct CustomExecutor {
    driver: Option<Custom>,
    builds_dir: String,
    cache_dir: String,
    pub(crate) shell: String,
    job_env: Vec<(String, String)>,
    directory: Option<TempDir>,
}

/// The three paths that a driver is told of.
#[derive(Debug)]
struct Places {
    directory: PathBuf,
    job_response: PathBuf,
    exit_code: PathBuf,
}

impl CustomExecutor {
    pub(super) fn new(runner: &Runner) -> Self {
        Self {
            driver: runner.custom.clone(),
            builds_dir: runner.builds_dir.clone(),
            cache_dir: runner.cache_dir.clone(),
            shell: if runner.shell.is_empty() { "bash".to_owned() } else { runner.shell.clone() },
            job_env: Vec::new(),
            directory: None,
        }
    }

    fn driver(&self) -> Result<&Custom, JobError> {
        let driver =
            self.driver.as_ref().ok_or_else(|| JobError::configuration("custom executor not configured"))?;
        if driver.run_exec.is_empty() {
            return Err(JobError::configuration("custom executor is missing RunExec"));
        }
        Ok(driver)
    }

    pub(super) fn prepare(&mut self, build: &mut Build, scope: &Scope) -> Result<(), JobError> {
        let driver = self.driver()?.clone();
        let failed = |error: std::io::Error| JobError::System(error.to_string());
        let directory = private_directory(&std::env::temp_dir(), "custom-executor").map_err(failed)?;
        write_job_response(build, directory.path()).map_err(failed)?;
        self.directory = Some(directory);

        let shared = self.configure(&driver, build, scope)?;
        directories::settle(build, &self.builds_dir, &self.cache_dir, shared)?;
        if !matches!(self.shell.as_str(), "bash" | "sh") {
            return Err(JobError::System(format!("shell {} not found", self.shell)));
        }
        if driver.prepare_exec.is_empty() {
            return Ok(());
        }
        let scope =
            scope.child_with_timeout(timeout(driver.prepare_exec_timeout, EXEC_TIMEOUT), End::TimedOut);
        let out = Box::new(build.log.stream(Source::ExecutorOut));
        let err = Box::new(build.log.stream(Source::ExecutorErr));
        self.call(build, &driver.prepare_exec, &driver.prepare_args, (out, err), &scope)
    }

    /// Asks the driver for its configuration. Returns whether the builds directory is shared.
    fn configure(&mut self, driver: &Custom, build: &mut Build, scope: &Scope) -> Result<bool, JobError> {
        let mut shared = false;
        let mut banner = "Using Custom executor".to_owned();
        if !driver.config_exec.is_empty() {
            let limit = timeout(driver.config_exec_timeout, EXEC_TIMEOUT);
            let scope = scope.child_with_timeout(limit, End::TimedOut);
            let out = Kept::default();
            let err = Box::new(build.log.stream(Source::ExecutorErr));
            build.refresh();
            self.call(build, &driver.config_exec, &driver.config_args, (Box::new(out.clone()), err), &scope)?;
            let text = out.bytes();
            if !text.is_empty() {
                let answer = answer::parse(&text)
                    .map_err(|error| JobError::System(format!("error while parsing JSON output: {error}")))?;
                build.hostname = answer.hostname.unwrap_or_else(|| std::mem::take(&mut build.hostname));
                self.builds_dir = answer.builds_dir.unwrap_or_else(|| std::mem::take(&mut self.builds_dir));
                self.cache_dir = answer.cache_dir.unwrap_or_else(|| std::mem::take(&mut self.cache_dir));
                self.shell = answer.shell.unwrap_or_else(|| std::mem::take(&mut self.shell));
                self.job_env = answer.job_env.into_iter().flatten().collect();
                shared = answer.builds_dir_is_shared.unwrap_or(false);
                if let Some(name) = answer.driver.as_ref().and_then(|driver| driver.name.as_ref()) {
                    banner.push_str(&format!(" with driver {name}"));
                    if let Some(version) = answer.driver.as_ref().and_then(|driver| driver.version.as_ref()) {
                        banner.push_str(&format!(" {version}"));
                    }
                }
            }
        }
        build.log.plain(&format!("{banner}..."));
        Ok(shared)
    }

    pub(super) fn run(
        &self,
        build: &Build,
        stage: &str,
        script: &str,
        scope: &Scope,
    ) -> Result<(), JobError> {
        let driver = self.driver()?;
        let file = self.write_script(script).map_err(|error| JobError::System(error.to_string()))?;
        let stage = if stage == "step_script" {
            build.log.warning(
                "Starting with version 17.0 the 'build_script' stage will be replaced with 'step_script': \
                 https://gitlab.com/groups/gitlab-org/-/epics/6112",
            );
            "build_script"
        } else {
            stage
        };
        let mut args = driver.run_args.clone();
        args.extend([file.to_string_lossy().into_owned(), stage.to_owned()]);
        let out = Box::new(build.log.stream(Source::WorkOut));
        let err = Box::new(build.log.stream(Source::WorkErr));
        self.call(build, &driver.run_exec, &args, (out, err), scope)
    }

    /// `script<random>/script`, 0700, kept until the end of the job.
    fn write_script(&self, script: &str) -> std::io::Result<PathBuf> {
        let places = self.places()?;
        let directory = private_directory(&places.directory, "script")?.keep();
        let path = directory.join("script");
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
        file.write_all(script.as_bytes())?;
        Ok(path)
    }

    /// Calls the driver a last time and removes the directory, whatever comes of it.
    pub(super) fn cleanup(&self, build: &Build) {
        let driver = match self.driver() {
            Ok(driver) => driver,
            Err(error) => {
                build.log.warning(&error.to_string());
                return;
            }
        };
        if !driver.cleanup_exec.is_empty() {
            let limit = timeout(driver.cleanup_exec_timeout, EXEC_TIMEOUT);
            let scope = Scope::endless().child_with_timeout(limit, End::TimedOut);
            let err = Box::new(RunnerLog::default());
            let called = self.call(
                build,
                &driver.cleanup_exec,
                &driver.cleanup_args,
                (Box::new(std::io::sink()), err),
                &scope,
            );
            if let Err(error) = called {
                build.log.warning(&format!("Cleanup script failed: {error}"));
            }
        }
        if let Some(directory) = &self.directory {
            // Files of other users, or none at all any more, are no reason to fail.
            let _ = std::fs::remove_dir_all(directory.path());
        }
    }

    fn places(&self) -> std::io::Result<Places> {
        let missing = || std::io::Error::other("the executor has no directory");
        let directory = self.directory.as_ref().ok_or_else(missing)?.path().to_owned();
        Ok(Places {
            job_response: directory.join("response.json"),
            exit_code: directory.join("build_exit_code"),
            directory,
        })
    }

    fn call(
        &self,
        build: &Build,
        program: &str,
        args: &[String],
        (out, err): (Sink, Sink),
        scope: &Scope,
    ) -> Result<(), JobError> {
        // cleanup_exec is also called after an attempt that never made its directory.
        let places = self.places().unwrap_or_else(|_| Places {
            directory: PathBuf::new(),
            job_response: PathBuf::new(),
            exit_code: PathBuf::new(),
        });
        let launch = Launch {
            program: program.to_owned(),
            args: args.to_vec(),
            env: environment::of_call(build, &places, &self.job_env),
            directory: (!places.directory.as_os_str().is_empty()).then(|| places.directory.clone()),
            stdin: None,
        };
        let ended = process::run(&launch, out, err, scope, self.kill_times(), |text| build.log.warning(text));
        ended.map_err(|failure| verdict::of(&failure, &places.exit_code))
    }

    fn kill_times(&self) -> KillTimes {
        let default = KillTimes::default();
        match &self.driver {
            Some(driver) => KillTimes {
                graceful: timeout(driver.graceful_kill_timeout, default.graceful),
                force: timeout(driver.force_kill_timeout, default.force),
            },
            None => default,
        }
    }
}

/// Seconds; none, zero and less are the default.
fn timeout(configured: Option<i64>, default: Duration) -> Duration {
    match configured.map(u64::try_from) {
        Some(Ok(seconds)) if seconds > 0 => Duration::from_secs(seconds),
        _ => default,
    }
}

/// A new directory for us only. Its name ends in digits, as those that Go makes.
fn private_directory(parent: &Path, prefix: &str) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let name = format!("{prefix}{}", random::digits());
    builder.prefix(&name).rand_bytes(0).permissions(std::fs::Permissions::from_mode(0o700));
    builder.tempdir_in(parent)
}

fn write_job_response(build: &Build, directory: &Path) -> std::io::Result<()> {
    let path = directory.join("response.json");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    serde_json::to_writer(&mut file, &build.job)?;
    file.write_all(b"\n")
}
