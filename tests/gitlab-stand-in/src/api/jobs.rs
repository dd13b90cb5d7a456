//! Jobs as users see them.

use axum::http::StatusCode;
use serde_json::Value;

use super::call::{Answer, Call, created, ok, plain_answer};
use super::entities;
use super::error::ApiError;
use super::paging::{keyset, paged_without_count};
use crate::lifecycle;
use crate::model::{Job, Level, Project, State, Status, User};

/// `GET /projects/:id/jobs`: newest first, no count, 600 a minute per user.
pub(super) async fn list(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let limit = state.settings.project_jobs_per_minute;
    call.limit(&mut state, "project jobs", &caller.user.username, limit)?;
    let project = readable(&call, &state, &caller.user)?;
    let statuses = scopes(&call)?;
    let order = call.params.choice("order_by", &["id"])?;
    let sort = call.params.choice("sort", &["asc", "desc"])?;
    let wanted =
        |job: &&Job| job.project_id == project.id && (statuses.is_empty() || statuses.contains(&job.status));
    let mut items: Vec<Value> =
        state.jobs.values().filter(wanted).map(|job| entities::job(&state, job)).collect();
    if sort.as_deref() != Some("asc") {
        items.reverse();
    }
    match call.params.choice("pagination", &["keyset", "offset", "legacy"])?.as_deref() {
        Some("keyset") if order.is_none() => Err(ApiError::parameter("order_by is missing")),
        Some("keyset") => keyset(&call, &state, items),
        _ => paged_without_count(&call, &state, items),
    }
}

/// The states that `scope` names, or 400.
pub(super) fn scopes(call: &Call) -> Result<Vec<Status>, ApiError> {
    let parse = |text: &String| {
        Status::parse(text).ok_or_else(|| ApiError::parameter("scope does not have a valid value"))
    };
    call.params.list("scope").iter().map(parse).collect()
}

pub(super) async fn show(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    readable(&call, &state, &caller.user)?;
    ok(&entities::job(&state, find(&call, &state)?))
}

/// The raw log as it was received.
pub(super) async fn trace(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    readable(&call, &state, &caller.user)?;
    let trace = find(&call, &state)?.trace.clone();
    Ok(plain_answer(StatusCode::OK, &[("Content-Type", "text/plain")], trace))
}

pub(super) async fn cancel(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = writable(&call, &mut state)?;
    let force = call.params.boolean("force")?.unwrap_or(false);
    let status = state.jobs.get(&id).map(|job| job.status);
    let cancelable = status.is_some_and(Status::is_alive);
    let by_force = force && status == Some(Status::Canceling);
    if !cancelable || (status == Some(Status::Canceling) && !by_force) {
        return Err(ApiError::forbidden_because("Job is not cancelable"));
    }
    lifecycle::cancel(&mut state, id, force);
    created(&entities::job(&state, find(&call, &state)?))
}

pub(super) async fn retry(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = writable(&call, &mut state)?;
    let retryable = state.jobs.get(&id).is_some_and(|job| {
        matches!(job.status, Status::Success | Status::Failed | Status::Canceled) && !job.retried
    });
    if !retryable {
        return Err(ApiError::forbidden_because("Job is not retryable"));
    }
    let again = lifecycle::retry(&mut state, id).and_then(|id| state.jobs.get(&id));
    created(&entities::job(&state, again.ok_or_else(|| ApiError::not_found("Job"))?))
}

pub(super) async fn play(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = writable(&call, &mut state)?;
    if state.jobs.get(&id).is_none_or(|job| job.status != Status::Manual) {
        return Err(ApiError::bad_request("Unplayable Job"));
    }
    let pipeline_id = state.jobs.get(&id).map(|job| job.pipeline_id);
    lifecycle::enqueue(&mut state, id);
    if let Some(pipeline_id) = pipeline_id {
        crate::pipeline::update_pipeline(&mut state, pipeline_id);
    }
    ok(&entities::job(&state, find(&call, &state)?))
}

/// Removes log and artifacts of a finished job.
pub(super) async fn erase(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = writable(&call, &mut state)?;
    let now = state.now();
    let job = state.jobs.get_mut(&id).filter(|job| job.status.is_complete() && job.erased_at.is_none());
    let job = job.ok_or_else(|| ApiError::forbidden_because("Job is not erasable!"))?;
    job.trace.clear();
    job.artifacts.clear();
    job.erased_at = Some(now);
    created(&entities::job(&state, find(&call, &state)?))
}

/// The project of the path, whose jobs the user may see: nobody may where CI/CD is switched off (`read_build` in gitlab
/// `app/policies/project_policy.rb`).
fn readable(call: &Call, state: &State, user: &User) -> Result<Project, ApiError> {
    let project = call.project(state, user)?;
    if project.builds_enabled { Ok(project) } else { Err(ApiError::forbidden()) }
}

fn find<'a>(call: &Call, state: &'a State) -> Result<&'a Job, ApiError> {
    let project = state.project_by_key(call.segment("id")).map(|project| project.id);
    let job = state.jobs.get(&call.id("job_id")?).filter(|job| Some(job.project_id) == project);
    job.ok_or_else(|| ApiError::not_found(""))
}

fn writable(call: &Call, state: &mut State) -> Result<i64, ApiError> {
    let caller = call.writer(state)?;
    call.project_as(state, &caller.user, Level::Developer)?;
    Ok(find(call, state)?.id)
}
