//! The stages of a job: their order, which are skipped, which are tried again.

use std::time::Duration;

use super::failure::{JobError, Reason};
use super::variables::stage_timeout;
use super::{Build, run};
use crate::duration;
use crate::executor::Executor;
use crate::joblog::{BOLD_CYAN, CLEAR, JobLog, RESET};
use crate::runner_log;
use crate::scope::{End, Scope};
use crate::shell::scripts::{self, Script, Stage};
use crate::trace::sender::Sender;

const AFTER_SCRIPT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The first and the longest pause between two tries of a stage.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));
const DEFAULT_RETRY_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Everything from `prepare_script` to `cleanup_file_variables`.
pub(super) fn run_all(
    build: &Build,
    executor: &Executor,
    sender: &Sender,
    scope: &Scope,
    prepare: &Scope,
) -> Result<(), JobError> {
    let stages = Stages { build, executor };
    let mut result = stages.prepare(scope, prepare)?;
    if result.is_ok() {
        result = stages.user_scripts(sender, scope);
    }
    let success = result.is_ok();
    let cache = stages.run(&Stage::ArchiveCache { success }, scope);
    let artifacts = stages.run(&Stage::UploadArtifacts { success }, scope);
    if let Err(error) = stages.run(&Stage::CleanupFileVariables, scope) {
        runner_log::warning(format!("Error while executing file based variables removal script: {error}"));
    }
    result.and(cache).and(artifacts)
}

struct Stages<'a> {
    build: &'a Build,
    executor: &'a Executor,
}

impl Stages<'_> {
    /// The outer error ends the job at once; after the inner one, caches, artifacts and cleanup still have their turn.
    fn prepare(&self, scope: &Scope, prepare: &Scope) -> Result<Result<(), JobError>, JobError> {
        let build = self.build;
        if let Err(error) = self.run(&Stage::Prepare, prepare) {
            if prepare.ended() == Some(End::PrepareTimedOut) {
                return Err(run::prepare_timed_out(build.limited(build.runner.prepare_timeout.as_ref())));
            }
            return Err(prepare_environment(error));
        }
        let limit = build.limited(build.runner.get_sources_timeout.as_ref());
        let sources_scope = scope.child_with_timeout(limit, End::GetSourcesTimedOut);
        let mut result =
            self.attempts(&Stage::GetSources, build.settings.get_sources_attempts, &sources_scope);
        if result.is_err() && sources_scope.ended() == Some(End::GetSourcesTimedOut) {
            let message = format!("get sources timeout: exceeded timeout of {}", duration::print(limit));
            return Err(JobError::Build { message, exit_code: 0, reason: Reason::JobExecutionTimeout });
        }
        if result.is_ok() {
            result = self.attempts(&Stage::RestoreCache, build.settings.restore_cache_attempts, scope);
        }
        if result.is_ok() {
            result =
                self.attempts(&Stage::DownloadArtifacts, build.settings.artifact_download_attempts, scope);
        }
        Ok(result)
    }

    /// Tries a stage again after any failure. Before its second try, get_sources clears the worktree.
    fn attempts(&self, stage: &Stage, attempts: u32, scope: &Scope) -> Result<(), JobError> {
        let exponential = self.build.flag("FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY");
        let (mut pause, longest) = if exponential { RETRY_PAUSES } else { DEFAULT_RETRY_PAUSES };
        let mut attempt = 1;
        loop {
            let cleared = if attempt == 2 && *stage == Stage::GetSources {
                self.run(&Stage::ClearWorktree, scope)
            } else {
                Ok(())
            };
            let Err(error) = cleared.and_then(|()| self.run(stage, scope)) else {
                return Ok(());
            };
            if attempt >= attempts {
                return Err(error);
            }
            self.build.log.warning("Retrying...");
            // The real one sleeps on although the job is over; ending here only spares the wait.
            scope.sleep(pause);
            pause = (pause * 2).min(longest);
            attempt += 1;
        }
    }

    fn user_scripts(&self, sender: &Sender, scope: &Scope) -> Result<(), JobError> {
        let build = self.build;
        let script_scope = match stage_timeout(build, "RUNNER_SCRIPT_TIMEOUT") {
            Some(limit) => scope.child_with_timeout(limit, End::TimedOut),
            None => scope.child(),
        };
        let after_limit = stage_timeout(build, "RUNNER_AFTER_SCRIPT_TIMEOUT").unwrap_or(AFTER_SCRIPT_TIMEOUT);
        // From here on a cancellation ends the script only.
        sender.on_cancel(&script_scope);
        let steps = build.job.steps.iter().flatten().filter(|step| step.name != "after_script");
        let mut result = Ok(());
        for step in steps {
            result = self.run(&Stage::Step(step.name.to_lowercase()), &script_scope);
            if result.is_err() {
                break;
            }
        }
        match (scope.ended(), script_scope.ended()) {
            (None, Some(End::Cancelled)) => {
                result = Err(JobError::canceled());
                build.log.warning("script canceled externally (UI, API)");
            }
            (end, Some(End::TimedOut)) if end != Some(End::TimedOut) => {
                let message = "script timeout: context deadline exceeded".to_owned();
                result = Err(JobError::Build { message, exit_code: 0, reason: Reason::JobExecutionTimeout });
            }
            _ => {}
        }
        build.set_job_status(result.as_ref().map_or_else(JobError::job_status, |()| "success"));
        let after = self.run(&Stage::AfterScript, &scope.child_with_timeout(after_limit, End::TimedOut));
        match after {
            Err(error) if scope.ended() != Some(End::TimedOut) => {
                if build.settings.after_script_ignore_errors {
                    build
                        .log
                        .warning(&format!("after_script failed, but job will continue unaffected: {error}"));
                    result
                } else {
                    result.and(Err(error))
                }
            }
            _ => result,
        }
    }

    /// Runs one stage; one without anything to do is passed over without a trace.
    fn run(&self, stage: &Stage, scope: &Scope) -> Result<(), JobError> {
        let build = self.build;
        if let Some(end) = scope.ended() {
            return Err(JobError::Ended(end));
        }
        let name = stage.name();
        let result = match scripts::generate(build, self.executor.script_target(), stage) {
            Ok(Script::Nothing) => return Ok(()),
            Err(message) => Err(JobError::System(message)),
            Ok(Script::Text(script)) => section(&build.log, build.job.features.trace_sections, &name, || {
                build.log.plain(&format!("{BOLD_CYAN}{}{RESET}", stage.description()));
                self.executor.run(build, &name, &script, scope)
            }),
        };
        if matches!(scope.ended(), Some(end) if end != End::Cancelled) {
            build.log.warning(&format!(
                "{name} could not run to completion because the timeout was exceeded. For more control over job and script \
                 timeouts see: https://docs.gitlab.com/ci/runners/configure_runners/#set-script-and-after_script-timeouts"
            ));
        }
        result
    }
}

/// Puts section marks around what `body` logs, where GitLab understands them.
pub(super) fn section<T>(log: &JobLog, marked: bool, name: &str, body: impl FnOnce() -> T) -> T {
    let mark = |kind: &str| {
        if marked {
            #[expect(clippy::disallowed_methods, reason = "a mark bears the time")]
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            log.raw(&format!("section_{kind}:{}:{name}\r{CLEAR}", now.as_secs()));
        }
    };
    mark("start");
    let result = body();
    mark("end");
    result
}

fn prepare_environment(error: JobError) -> JobError {
    let wrap = |message: &dyn std::fmt::Display| {
        format!(
            "prepare environment: {message}. Check https://docs.gitlab.com/runner/shells/#shell-profile-loading \
             for more information"
        )
    };
    match error {
        JobError::Build { message, exit_code, reason } => {
            JobError::Build { message: wrap(&message), exit_code, reason }
        }
        JobError::System(message) => JobError::System(wrap(&message)),
        ended @ JobError::Ended(_) => ended,
    }
}
