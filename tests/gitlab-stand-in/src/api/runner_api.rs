//! The calls that come with a runner token.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::{Answer, Call, created, no_content, ok, plain_answer};
use super::error::ApiError;
use crate::clock::{Time, iso, seconds};
use crate::lifecycle::{finish, start};
use crate::matching::pick_job;
use crate::model::{Job, Manager, Runner, State, Status};
use crate::pipeline::{AllowFailure, dependencies_of, payload};

/// What a manager without a `system_id` is called.
const LEGACY_SYSTEM_ID: &str = "<legacy>";

pub(super) async fn register() -> Answer {
    Err(ApiError::with_status(StatusCode::GONE, "Gone - runner registration disallowed"))
}

/// `POST /runners/verify`: makes the manager record, but is a contact only of runners without a `glrt-` token.
pub(super) async fn verify(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.runner(&state)?;
    let by_api = state.runners.get(&id).is_some_and(Runner::created_by_api);
    touch(&mut state, &call, id, !by_api);
    let runner = state.runners.get(&id).ok_or_else(ApiError::forbidden)?;
    ok(&json!({ "id": id, "token": runner.token, "token_expires_at": runner.token_expires_at.map(iso) }))
}

/// `DELETE /runners` with a runner token.
pub(super) async fn delete_by_token(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.runner(&state)?;
    state.runners.remove(&id);
    no_content()
}

/// `DELETE /runners/managers`: a contact in any case; removing the last manager clears the contact time.
pub(super) async fn delete_manager(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.runner(&state)?;
    let system_id =
        call.params.text("system_id").ok_or_else(|| ApiError::parameter("system_id is missing"))?;
    let now = state.now();
    let runner = state.runners.get_mut(&id).ok_or_else(ApiError::forbidden)?;
    runner.heartbeat(now);
    if runner.managers.remove(&system_id).is_none() {
        return Err(ApiError::not_found("Runner manager"));
    }
    if runner.managers.is_empty() {
        runner.contacted_at = None;
        runner.stored_contact = None;
    }
    no_content()
}

pub(super) async fn reset_own_token(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.runner(&state)?;
    let now = state.now();
    let late =
        state.runners.get(&id).and_then(|runner| runner.rotation_deadline).is_some_and(|end| end <= now);
    if late {
        let text = "Unprocessable Entity - token rotation deadline has passed";
        return Err(ApiError::with_status(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    created(&reset_token(&mut state, id))
}

/// Gives the runner a new token, and answers with it.
pub(super) fn reset_token(state: &mut State, id: i64) -> Value {
    let expires = new_expiry(state);
    let Some(kind) = state.runners.get(&id).map(|runner| runner.kind) else { return Value::Null };
    let token = state.secrets.make(kind.token_prefix());
    if let Some(runner) = state.runners.get_mut(&id) {
        runner.token.clone_from(&token);
        runner.token_expires_at = expires;
    }
    json!({ "token": token, "token_expires_at": expires.map(iso) })
}

/// When a token made now expires, by the server's settings.
pub(super) fn new_expiry(state: &State) -> Option<Time> {
    state.settings.runner_token_lifetime_days.map(|days| state.now() + seconds(days * 24 * 3600))
}

pub(super) async fn discovery(call: Call) -> Answer {
    let state = call.app.lock();
    let secret = call.header("runner-token").ok_or_else(ApiError::forbidden)?;
    state.runner_by_token(secret).ok_or_else(ApiError::forbidden)?;
    Err(ApiError::with_status(StatusCode::NOT_IMPLEMENTED, "Not Implemented"))
}

/// `POST /jobs/request`. With `long_poll` set it waits for news, as Workhorse does.
pub(super) async fn request_job(call: Call) -> Answer {
    let mut tries = call.app.lock().settings.long_poll * 5;
    loop {
        let unchanged = {
            let state = call.app.lock();
            let runner = call.runner(&state).ok().and_then(|id| state.runners.get(&id));
            let value = call.params.text("last_update").unwrap_or_default();
            runner.is_some_and(|runner| runner.queue_value_is_current(state.now(), &value))
        };
        if !unchanged || tries == 0 {
            return hand_out(&call);
        }
        tries -= 1;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn hand_out(call: &Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.runner(&state)?;
    let limit = state.settings.job_requests_per_minute;
    call.limit(&mut state, "job request", &id.to_string(), limit)?;
    let system_id = touch(&mut state, call, id, true);
    let (now, fresh) = (state.now(), state.secrets.make(""));
    let given = call.params.text("last_update").unwrap_or_default();
    let runner = state.runners.get_mut(&id).ok_or_else(ApiError::forbidden)?;
    if runner.paused {
        return nothing(&runner.ensure_queue_value(now, fresh));
    }
    if runner.queue_value_is_current(now, &given) {
        return nothing(&given);
    }
    let value = runner.ensure_queue_value(now, fresh);
    let features = features(&call.params.get("info").cloned().unwrap_or_default());
    while let Some(job_id) = state.runners.get(&id).and_then(|runner| pick_job(&state, runner)) {
        if let Some(reason) = unfit(&state, job_id, &features) {
            finish(&mut state, job_id, Status::Failed, Some(reason));
            continue;
        }
        return assign(&mut state, id, job_id, system_id, features);
    }
    nothing(&value)
}

/// Gives the job away: at once, or, to a runner that knows the two phases, as a claim that it must confirm.
fn assign(
    state: &mut State,
    runner_id: i64,
    job_id: i64,
    system_id: String,
    features: Vec<String>,
) -> Answer {
    let now = state.now();
    let two_phases = features.iter().any(|feature| feature == "two_phase_job_commit");
    if let Some(job) = state.jobs.get_mut(&job_id) {
        job.runner_id = Some(runner_id);
        job.system_id = Some(system_id);
        job.features = features;
        job.updated_at = now;
        if two_phases {
            job.extend_claim(now);
        }
    }
    if !two_phases {
        start(state, job_id);
    }
    let (job, runner) = (state.jobs.get(&job_id), state.runners.get(&runner_id));
    let body = job.zip(runner).and_then(|(job, runner)| payload(state, job, runner));
    created(&body.ok_or_else(|| ApiError::with_status(StatusCode::CONFLICT, "Conflict"))?)
}

fn nothing(last_update: &str) -> Answer {
    Ok(plain_answer(StatusCode::NO_CONTENT, &[("X-GitLab-Last-Update", last_update)], ""))
}

/// Why a job is failed instead of handed out.
fn unfit(state: &State, job_id: i64, features: &[String]) -> Option<&'static str> {
    let job = state.jobs.get(&job_id)?;
    let named =
        |other: &&Job| job.spec.dependencies.as_ref().is_some_and(|names| names.contains(&other.spec.name));
    if dependencies_of(state, job).into_iter().filter(named).any(|other| other.erased_at.is_some()) {
        return Some("missing_dependency_failure");
    }
    let announced = |feature: &str| features.iter().any(|known| known == feature);
    let needed = [
        ("refspecs", true),
        ("upload_multiple_artifacts", job.spec.artifacts.iter().any(|a| a.kind != "archive")),
        ("artifacts_exclude", job.spec.artifacts.iter().any(|a| !a.exclude.is_empty())),
        ("return_exit_code", matches!(job.spec.allow_failure, AllowFailure::ExitCodes(_))),
    ];
    let unsupported = needed.iter().any(|(feature, needed)| *needed && !announced(feature));
    unsupported.then_some("runner_unsupported")
}

/// The names of `info.features` that are true.
fn features(info: &Value) -> Vec<String> {
    let named = info["features"].as_object();
    let on = |(name, value): (&String, &Value)| (value == &Value::Bool(true)).then(|| name.clone());
    named.into_iter().flatten().filter_map(on).collect()
}

/// Makes or renews the manager record, and counts the contact of the runner where `contact` says so.
fn touch(state: &mut State, call: &Call, runner_id: i64, contact: bool) -> String {
    let system_id = call.params.text("system_id").unwrap_or_else(|| LEGACY_SYSTEM_ID.to_owned());
    let now = state.now();
    let known = state.runners.get(&runner_id).is_some_and(|runner| runner.managers.contains_key(&system_id));
    let id = if known { 0 } else { state.next_id() };
    let Some(runner) = state.runners.get_mut(&runner_id) else { return system_id };
    let manager = runner.managers.entry(system_id.clone()).or_insert_with(|| Manager {
        id,
        system_id: system_id.clone(),
        created_at: now,
        contacted_at: None,
        info: Value::Null,
    });
    if let Some(info) = call.params.get("info") {
        manager.info = info.clone();
    }
    if contact {
        manager.contacted_at = Some(now);
        runner.heartbeat(now);
    }
    system_id
}
