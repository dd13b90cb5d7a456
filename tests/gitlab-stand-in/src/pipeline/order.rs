//! Which jobs of a pipeline may start, and what the pipeline as a whole is.

use super::spec::{AllowFailure, When};
use crate::lifecycle::{enqueue, set_status};
use crate::model::{Job, State, Status};

/// Starts or skips every job whose predecessors are done, until nothing changes; then sets the pipeline's status.
pub(crate) fn update_pipeline(state: &mut State, pipeline_id: i64) {
    while let Some((job_id, next)) = next_change(state, pipeline_id) {
        match next {
            Status::Pending => enqueue(state, job_id),
            other => set_status(state, job_id, other),
        }
    }
    let now = state.now();
    let status = composite(state.jobs_of(pipeline_id).filter(|job| !job.retried));
    let Some(pipeline) = state.pipelines.get_mut(&pipeline_id) else { return };
    if pipeline.status != status {
        pipeline.status = status;
        pipeline.updated_at = now;
        if status == Status::Running {
            pipeline.started_at.get_or_insert(now);
        }
        pipeline.finished_at = status.is_complete().then_some(now);
    }
}

fn next_change(state: &State, pipeline_id: i64) -> Option<(i64, Status)> {
    let created = state.jobs_of(pipeline_id).filter(|job| job.status == Status::Created && !job.retried);
    created.into_iter().find_map(|job| Some((job.id, decide(state, job)?)))
}

/// What a created job becomes, or `None` while it must wait.
fn decide(state: &State, job: &Job) -> Option<Status> {
    let before = predecessors(state, job);
    let done = |other: &&Job| other.status.is_complete() || is_optional_manual(other);
    if !before.iter().all(done) {
        return None;
    }
    let failed = before.iter().any(|other| {
        matches!(other.status, Status::Failed | Status::Canceled) && !other.failure_is_allowed()
    });
    // A skipped stage does not hold up later stages, but a skipped need does.
    let skipped_need = job.spec.needs.is_some() && before.iter().any(|other| other.status == Status::Skipped);
    let in_order = !failed && !skipped_need;
    Some(match job.spec.when {
        When::Always => Status::Pending,
        When::OnSuccess if in_order => Status::Pending,
        When::OnFailure if failed => Status::Pending,
        When::Manual if in_order => Status::Manual,
        _ => Status::Skipped,
    })
}

/// The jobs that must be done before `job`: its needs, or all jobs of earlier stages.
fn predecessors<'a>(state: &'a State, job: &Job) -> Vec<&'a Job> {
    let stages = state.pipelines.get(&job.pipeline_id).map(|pipeline| pipeline.stages.as_slice());
    let index = |stage: &String| stages.unwrap_or_default().iter().position(|known| known == stage);
    let current = state.jobs_of(job.pipeline_id).filter(|other| !other.retried && other.id != job.id);
    let before = |other: &&Job| match &job.spec.needs {
        Some(needs) => needs.iter().any(|need| need.job == other.spec.name),
        None => index(&other.spec.stage) < index(&job.spec.stage),
    };
    current.filter(before).collect()
}

fn is_optional_manual(job: &Job) -> bool {
    job.status == Status::Manual && job.spec.allow_failure != AllowFailure::No
}

fn composite<'a>(jobs: impl Iterator<Item = &'a Job>) -> Status {
    let statuses: Vec<Status> = jobs
        .map(|job| match job.status {
            Status::Failed | Status::Canceled if job.failure_is_allowed() => Status::Success,
            Status::Manual if is_optional_manual(job) => Status::Skipped,
            other => other,
        })
        .collect();
    let any = |wanted: Status| statuses.contains(&wanted);
    let all = |wanted: &[Status]| statuses.iter().all(|status| wanted.contains(status));
    if all(&[Status::Skipped]) {
        return Status::Skipped;
    }
    if all(&[Status::Success, Status::Skipped]) {
        return Status::Success;
    }
    if all(&[Status::Created]) {
        return Status::Created;
    }
    if any(Status::Canceling) {
        return Status::Canceling;
    }
    if all(&[Status::Success, Status::Skipped, Status::Failed, Status::Canceled]) {
        return if any(Status::Canceled) { Status::Canceled } else { Status::Failed };
    }
    if all(&[Status::Created, Status::Pending, Status::Skipped]) {
        return Status::Pending;
    }
    if any(Status::Running) || any(Status::Pending) {
        return Status::Running;
    }
    if any(Status::Manual) {
        return Status::Manual;
    }
    Status::Running
}
