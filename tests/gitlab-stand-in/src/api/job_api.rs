//! The calls that come with a job token: state, log, and the job itself.

use axum::http::StatusCode;
use axum::response::Response;

use super::call::{Answer, Call, ok, plain_answer};
use super::entities;
use super::error::ApiError;
use crate::lifecycle::{finish, start};
use crate::model::{Job, State, Status};
use crate::pipeline::FAILURE_REASONS;

/// `PUT /jobs/:id`.
pub(super) async fn update(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.processing_job(&state)?;
    limit_job_calls(&call, &mut state, id)?;
    contact(&mut state, id);
    let wanted = call.params.text("state").unwrap_or_default();
    let job = state.jobs.get(&id).ok_or_else(ApiError::forbidden)?;
    let claimed = job.is_claimed();
    match wanted.as_str() {
        "pending" if claimed => {
            let now = state.now();
            if let Some(job) = state.jobs.get_mut(&id) {
                job.extend_claim(now);
            }
        }
        "pending" => {
            return Err(ApiError::with_status(StatusCode::CONFLICT, "Conflict - job is already running"));
        }
        "running" if claimed => start(&mut state, id),
        "running" => {
            let now = state.now();
            if let Some(job) = state.jobs.get_mut(&id) {
                job.updated_at = now;
            }
        }
        "success" | "failed" => report(&call, &mut state, id)?,
        _ => return Err(ApiError::bad_request("unknown state")),
    }
    accepted(&state, id, StatusCode::OK)
}

/// The last report. An unconfirmed claim ends here too: the runner may fail before it ever confirmed.
fn report(call: &Call, state: &mut State, id: i64) -> Result<(), ApiError> {
    let exit_code = call.params.integer("exit_code")?;
    let success = call.params.text("state").as_deref() == Some("success");
    let given = call.params.text("failure_reason");
    let output = call.params.get("output").cloned().unwrap_or_default();
    let checksum = output["checksum"].as_str().map(str::to_owned).or_else(|| call.params.text("checksum"));
    let job = state.jobs.get_mut(&id).ok_or_else(ApiError::forbidden)?;
    job.exit_code = exit_code;
    job.reported_checksum = checksum;
    let canceling = job.status == Status::Canceling;
    let reason = given.unwrap_or_else(|| "unknown_failure".to_owned());
    let known = FAILURE_REASONS.contains(&reason.as_str());
    let (status, reason) = match (canceling, success) {
        (true, _) => (Status::Canceled, None),
        (false, true) => (Status::Success, None),
        (false, false) if known => (Status::Failed, Some(reason.as_str())),
        (false, false) => (Status::Failed, Some("unknown_failure")),
    };
    finish(state, id, status, reason);
    Ok(())
}

/// `PATCH /jobs/:id/trace`. Only the first number of `Content-Range` is read; `Range` in the answer ends in a count.
pub(super) async fn append_trace(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.processing_job(&state)?;
    let limit = state.settings.trace_per_minute;
    call.limit(&mut state, "trace", &id.to_string(), limit)?;
    let range =
        call.header("content-range").ok_or_else(|| ApiError::bad_request("Missing header Content-Range"))?;
    let first: Option<usize> = range.split('-').next().and_then(|first| first.trim().parse().ok());
    contact(&mut state, id);
    let (now, maximum) = (state.now(), state.settings.max_trace_size);
    let job = state.jobs.get_mut(&id).ok_or_else(ApiError::forbidden)?;
    if first != Some(job.trace.len()) {
        let range = format!("0-{}", job.trace.len());
        let error = ApiError::with_status(StatusCode::RANGE_NOT_SATISFIABLE, "Range Not Satisfiable");
        return Err(error.header("Range", range));
    }
    job.trace.extend_from_slice(&call.body);
    job.updated_at = now;
    if job.trace.len() > maximum {
        finish(&mut state, id, Status::Failed, Some("trace_size_exceeded"));
        return Err(
            ApiError::forbidden_because("Job is not processing on runner").header("Job-Status", "failed")
        );
    }
    accepted(&state, id, StatusCode::ACCEPTED)
}

/// `GET /job`: the job whose token it is, while it runs.
pub(super) async fn current(call: Call) -> Answer {
    let state = call.app.lock();
    let bearer = || call.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned);
    let secret = call.header("job-token").map(str::to_owned).or_else(bearer);
    let secret = secret.or_else(|| call.params.text("job_token"));
    if let Some(job) = secret.as_deref().and_then(|secret| state.job_by_token(secret)) {
        let running = matches!(job.status, Status::Running | Status::Canceling);
        return if running { ok(&entities::job(&state, job)) } else { Err(ApiError::unauthorized()) };
    }
    let of_user = call.user_secret().is_some_and(|secret| state.tokens.values().any(|t| t.secret == secret));
    Err(if of_user { ApiError::not_found("") } else { ApiError::unauthorized() })
}

/// Counts one call of a job token that has no limit of its own.
pub(super) fn limit_job_calls(call: &Call, state: &mut State, job_id: i64) -> Result<(), ApiError> {
    let limit = state.settings.job_calls_per_minute;
    call.limit(state, "job call", &job_id.to_string(), limit)
}

/// What a job does is a contact of its runner and its manager.
fn contact(state: &mut State, job_id: i64) {
    let now = state.now();
    let Some(Job { runner_id: Some(runner_id), system_id, .. }) = state.jobs.get(&job_id) else { return };
    let (runner_id, system_id) = (*runner_id, system_id.clone().unwrap_or_default());
    if let Some(runner) = state.runners.get_mut(&runner_id) {
        runner.heartbeat(now);
        if let Some(manager) = runner.managers.get_mut(&system_id) {
            manager.contacted_at = Some(now);
        }
    }
}

fn accepted(state: &State, id: i64, status: StatusCode) -> Result<Response, ApiError> {
    let job = state.jobs.get(&id).ok_or_else(ApiError::forbidden)?;
    let range = format!("0-{}", job.trace.len());
    let interval = state.settings.trace_update_interval.to_string();
    let mut headers = vec![
        ("Job-Status", job.status.name()),
        ("X-GitLab-Trace-Update-Interval", interval.as_str()),
        ("Content-Type", "text/plain"),
    ];
    if status == StatusCode::ACCEPTED {
        headers.push(("Range", range.as_str()));
    }
    Ok(plain_answer(
        status,
        &headers,
        if status == StatusCode::ACCEPTED { range.clone() } else { "200".to_owned() },
    ))
}
