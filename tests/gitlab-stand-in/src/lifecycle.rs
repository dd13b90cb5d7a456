//! The transitions of a job.

use std::sync::Arc;

use crate::matching::{fits, serves_project};
use crate::model::{Job, State, Status};
use crate::pipeline::{add_job, update_pipeline};

/// Makes a job pending and gives the runners that match it a new queue value, so that they look.
pub(crate) fn enqueue(state: &mut State, job_id: i64) {
    let now = state.now();
    let Some(job) = state.jobs.get_mut(&job_id) else { return };
    job.status = Status::Pending;
    job.updated_at = now;
    job.queued_at = Some(now);
    let job = job.clone();
    let matching = |id: &i64| {
        state.runners.get(id).is_some_and(|runner| {
            runner.has_recent_queue(now)
                && serves_project(state, runner, job.project_id)
                && fits(runner, &job)
        })
    };
    let ids: Vec<i64> = state.runners.keys().copied().filter(matching).collect();
    for id in ids {
        tick_queue(state, id);
    }
}

/// Gives one runner a new queue value.
pub(crate) fn tick_queue(state: &mut State, runner_id: i64) {
    let (now, value) = (state.now(), state.secrets.make(""));
    if let Some(runner) = state.runners.get_mut(&runner_id) {
        runner.queue_value = Some((value, now));
    }
}

/// Sets a state that has no other effect than the time of the change.
pub(crate) fn set_status(state: &mut State, job_id: i64, status: Status) {
    let now = state.now();
    if let Some(job) = state.jobs.get_mut(&job_id) {
        job.status = status;
        job.updated_at = now;
        if status.is_complete() {
            job.finished_at = Some(now);
        }
    }
}

/// The runner confirmed the job, or took it at once.
pub(crate) fn start(state: &mut State, job_id: i64) {
    let now = state.now();
    let Some(job) = state.jobs.get_mut(&job_id) else { return };
    job.status = Status::Running;
    job.started_at = Some(now);
    job.updated_at = now;
    job.claim_ends = None;
    let pipeline_id = job.pipeline_id;
    update_pipeline(state, pipeline_id);
}

/// Ends a job; a failure is tried again where `retry:` says so.
pub(crate) fn finish(state: &mut State, job_id: i64, status: Status, failure_reason: Option<&str>) {
    let now = state.now();
    let Some(job) = state.jobs.get_mut(&job_id) else { return };
    job.status = status;
    job.failure_reason = failure_reason.map(str::to_owned);
    job.updated_at = now;
    job.finished_at = Some(now);
    job.claim_ends = None;
    let (pipeline_id, spec, count, exit_code) =
        (job.pipeline_id, Arc::clone(&job.spec), job.retry_count, job.exit_code);
    let reason = failure_reason.unwrap_or("unknown_failure");
    if status == Status::Failed && spec.retry.covers(count, reason, exit_code) {
        let again = retry(state, job_id);
        if let Some(again) = again.and_then(|id| state.jobs.get_mut(&id)) {
            again.retry_count = count + 1;
        }
    }
    update_pipeline(state, pipeline_id);
}

/// Cancels a job: at once, or, if its runner can stop gracefully, by way of `canceling`.
pub(crate) fn cancel(state: &mut State, job_id: i64, force: bool) {
    let Some(job) = state.jobs.get(&job_id) else { return };
    let graceful = job.status == Status::Running && job.announced("cancel_gracefully") && !force;
    if graceful {
        let pipeline_id = job.pipeline_id;
        set_status(state, job_id, Status::Canceling);
        update_pipeline(state, pipeline_id);
    } else {
        finish(state, job_id, Status::Canceled, None);
    }
}

/// Puts a fresh copy of the job in its place and returns the copy's id.
pub(crate) fn retry(state: &mut State, job_id: i64) -> Option<i64> {
    let old = state.jobs.get_mut(&job_id)?;
    old.retried = true;
    let Job { project_id, pipeline_id, user_id, protected, .. } = *old;
    let spec = Arc::clone(&old.spec);
    let id = add_job(state, project_id, pipeline_id, user_id, spec, protected);
    enqueue(state, id);
    // Later jobs that were skipped because of the failure get another chance.
    let skipped: Vec<i64> =
        state.jobs_of(pipeline_id).filter(|job| job.status == Status::Skipped).map(|job| job.id).collect();
    for later in skipped {
        set_status(state, later, Status::Created);
        if let Some(job) = state.jobs.get_mut(&later) {
            job.finished_at = None;
        }
    }
    update_pipeline(state, pipeline_id);
    Some(id)
}
