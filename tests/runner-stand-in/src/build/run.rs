//! A job from its first log line to its final status.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::failure::{JobError, Reason};
use super::{Build, stages};
use crate::duration;
use crate::executor::{Executor, Kind};
use crate::joblog::{BOLD_CYAN, JobLog, RESET, Style};
use crate::runner_log;
use crate::scope::{End, POLL, Scope};
use crate::single::signals::Signals;
use crate::trace::buffer::Buffer;
use crate::trace::sender::Sender;
use crate::version;

const PREPARATION_TRIES: u32 = 3;
const PREPARATION_PAUSE: Duration = Duration::from_secs(3);
/// How long an aborted build is waited for before the executor is cleaned up around it.
const WAIT_FOR_BUILD: Duration = Duration::from_secs(5 * 60);

/// What a job runs with, besides what it is itself.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) kind: Kind,
    pub(crate) signals: Arc<Signals>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) buffer: Arc<Buffer>,
}

/// Runs the job and tells GitLab how it ended. An error has been told already.
pub(crate) fn run(mut build: Build, around: &Surroundings) -> Result<(), JobError> {
    let style = build.log_style();
    let (buffer, supported) =
        (Arc::clone(&around.buffer), build.job.features.failure_reasons.clone().unwrap_or_default());
    let closing = JobLog::new(Arc::clone(&buffer), style.clone());
    let header = JobLog::new(Arc::clone(&buffer), style.clone());
    print_header(&build, &header);
    header.close();
    build.log = JobLog::new(buffer, style);
    let result = run_to_end(build, around);
    report(&result, &closing, &around.sender, &supported);
    result
}

fn run_to_end(mut build: Build, around: &Surroundings) -> Result<(), JobError> {
    if let Some(feature) = build.job.refused {
        return Err(JobError::configuration(format!(
            "this job needs {feature}, which the gitlab-runner stand-in lacks"
        )));
    }
    expand_images(&mut build);
    let scope = Scope::endless().child_with_timeout(build.timeout(), End::TimedOut);
    around.sender.on_cancel(&scope);
    around.sender.on_abort(&scope);
    if !build.settings.problems.is_empty() {
        build.log.warning(&build.settings.problems.join("\n"));
    }
    if build.job.has_secrets {
        build.log.plain(&format!("{BOLD_CYAN}Resolving secrets{RESET}"));
    }
    let prepare_limit = build.limited(build.runner.prepare_timeout.as_ref());
    let prepare_scope = scope.child_with_timeout(prepare_limit, End::PrepareTimedOut);
    let prepared =
        stages::section(&build.log.clone(), build.job.features.trace_sections, "prepare_executor", || {
            let name = &build.runner.executor;
            build.log.plain(&format!("{BOLD_CYAN}Preparing the \"{name}\" executor{RESET}"));
            prepare(&mut build, around.kind, &prepare_scope)
        });
    let log = build.log.clone();
    let result = match prepared {
        Ok(executor) => execute(build, executor, around, &scope, &prepare_scope),
        Err(_) if prepare_scope.ended() == Some(End::PrepareTimedOut) => {
            Err(prepare_timed_out(prepare_limit))
        }
        Err(error) => Err(error),
    };
    log.close();
    result
}

/// Image and services may be named by variables; drivers see the result.
fn expand_images(build: &mut Build) {
    let variables = build.variables().clone();
    let image = &mut build.job.image;
    for image in std::iter::once(image).chain(build.job.services.iter_mut().flatten()) {
        image.name = variables.expand(&image.name);
        image.alias = variables.expand(&image.alias);
    }
}

fn prepare(build: &mut Build, kind: Kind, scope: &Scope) -> Result<Executor, JobError> {
    let mut last = JobError::System("failed to create executor".to_owned());
    for _ in 0..PREPARATION_TRIES {
        let mut executor = Executor::new(kind, &build.runner);
        let Err(error) = executor.prepare(build, scope) else {
            return Ok(executor);
        };
        executor.cleanup(build);
        if matches!(error, JobError::Build { .. }) {
            return Err(error);
        }
        if let Some(end) = scope.ended() {
            return Err(ended(end, build.timeout()));
        }
        build.log.error(&format!("Preparation failed: {error}"));
        build.log.info(&format!("Will be retried in {} ...", duration::print(PREPARATION_PAUSE)));
        last = error;
        // Also after the last try, as the real program does.
        if !scope.sleep(PREPARATION_PAUSE) {
            return Err(ended(scope.ended().unwrap_or(End::Cancelled), build.timeout()));
        }
    }
    Err(last)
}

/// Runs the stages in a thread of their own, so that a signal, a cancellation or the timeout ends the wait for them.
fn execute(
    build: Build,
    executor: Executor,
    around: &Surroundings,
    scope: &Scope,
    prepare_scope: &Scope,
) -> Result<(), JobError> {
    let job_timeout = build.timeout();
    let shared = Arc::new((build, executor));
    let run_scope = scope.child();
    let (send, finished) = mpsc::channel();
    let (in_thread, scopes) = (Arc::clone(&shared), (run_scope.clone(), prepare_scope.clone()));
    let sender = Arc::clone(&around.sender);
    std::thread::spawn(move || {
        let (build, executor) = &*in_thread;
        let result = stages::run_all(build, executor, &sender, &scopes.0, &scopes.1);
        // Nobody listens any more after an abort that took too long.
        let _ = send.send(result);
    });
    let result = loop {
        if let Some(end) = scope.ended() {
            break Err(ended(end, job_timeout));
        }
        if let Some(signal) = around.signals.abort_wanted() {
            let message = format!("aborted: {signal}");
            break Err(JobError::Build { message, exit_code: 0, reason: Reason::RunnerInterrupted });
        }
        match finished.recv_timeout(POLL) {
            Ok(result) => {
                shared.1.cleanup(&shared.0);
                return match scope.ended() {
                    Some(end) => Err(ended(end, job_timeout)),
                    None => result.map_err(|error| settle(error, job_timeout)),
                };
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Err(JobError::Build {
                    message: "panic: the stages have ended without a result".to_owned(),
                    exit_code: 0,
                    reason: Reason::RunnerSystemFailure,
                });
            }
        }
    };
    run_scope.cancel();
    if matches!(finished.recv_timeout(WAIT_FOR_BUILD), Err(RecvTimeoutError::Timeout)) {
        shared.0.log.warning("Timed out waiting for the build to finish");
    }
    shared.1.cleanup(&shared.0);
    result
}

/// A scope's end as the job's failure.
fn ended(end: End, job_timeout: Duration) -> JobError {
    match end {
        End::Cancelled => JobError::canceled(),
        _ => JobError::Build {
            message: format!("execution took longer than {} seconds", duration::print(job_timeout)),
            exit_code: 0,
            reason: Reason::JobExecutionTimeout,
        },
    }
}

fn settle(error: JobError, job_timeout: Duration) -> JobError {
    match error {
        JobError::Ended(end) => ended(end, job_timeout),
        other => other,
    }
}

pub(super) fn prepare_timed_out(limit: Duration) -> JobError {
    JobError::Build {
        message: format!("prepare timeout: exceeded timeout of {}", duration::print(limit)),
        exit_code: 0,
        reason: Reason::JobExecutionTimeout,
    }
}

fn print_header(build: &Build, log: &JobLog) {
    log.plain(&format!("Running with {}", version::line()));
    let (name, token, id) = (&build.runner.name, build.runner.short_token(), &build.runner.system_id);
    log.plain(&format!("  on {name} {token}, system ID: {id}"));
    let defaults: std::collections::BTreeMap<&str, bool> = super::feature_flags::FLAGS.into();
    let changed: Vec<String> = super::feature_flags::FLAGS
        .iter()
        .filter(|(name, default)| build.flag(name) != *default)
        .map(|(name, _)| format!("{name}:{}", !defaults[name]))
        .collect();
    if !changed.is_empty() {
        log.plain(&format!("  feature flags: {}", changed.join(", ")));
    }
}

fn report(result: &Result<(), JobError>, log: &JobLog, sender: &Sender, supported: &[String]) {
    let (reason, exit_code) = match result {
        Ok(()) => {
            log.info("Job succeeded");
            log.close();
            runner_log::info("Job succeeded");
            sender.success();
            return;
        }
        Err(JobError::Build { message, exit_code, reason }) => {
            let system = if *reason == Reason::RunnerSystemFailure { " (system failure)" } else { "" };
            log.error(&format!("Job failed{system}: {message}"));
            (reason.clone().supported_by(supported), *exit_code)
        }
        Err(error) => {
            log.error(&format!("Job failed (system failure): {error}"));
            (Reason::RunnerSystemFailure, 0)
        }
    };
    log.close();
    sender.fail(&reason, exit_code);
}

/// A log for what comes before the job's own style is known.
pub(crate) fn early_log(buffer: &Arc<Buffer>) -> JobLog {
    JobLog::new(Arc::clone(buffer), Style::default())
}
