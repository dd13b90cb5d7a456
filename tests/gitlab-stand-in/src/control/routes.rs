//! Routes of the control API. Refusals are 422 with `{"error": ...}`.

use axum::Router;
use axum::extract::{Path, State as AxumState};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::make;
use super::make::ControlError;
use super::specs::{NewJob, NewMember, NewPipeline, NewProject, NewRunner, NewToken, NewUser, TokenChange};
use super::view::{job_view, state_view};
use crate::api::{App, json_answer};
use crate::clock::iso;
use crate::faults::Fault;
use crate::model::State;
use crate::sweeps::{advance, sweep};

/// All routes below `/-/stand-in`.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/users", post(users))
        .route("/members", post(members))
        .route("/projects", post(projects))
        .route("/tokens", post(tokens).patch(token_changes))
        .route("/runners", post(runners))
        .route("/jobs", post(jobs))
        .route("/jobs/{id}", get(job))
        .route("/jobs/{id}/trace", axum::routing::put(cut_trace))
        .route("/pipelines", post(pipelines))
        .route("/clock", get(clock).post(move_clock))
        .route("/sweep", post(sweep_now))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/settings", axum::routing::patch(settings))
        .route("/state", get(state))
        .route("/requests", get(requests).delete(forget_requests))
        .route("/counters", get(counters))
}

/// Moves of the clock: `advance` in seconds, `freeze` stops it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClockMove {
    advance: i64,
    freeze: bool,
}

/// How many bytes of a log the server has lost track of: what is behind `length` is forgotten.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceCut {
    length: usize,
}

fn done(body: &Value) -> Response {
    json_answer(StatusCode::OK, &[], body)
}

fn refused(text: &str) -> Response {
    json_answer(StatusCode::UNPROCESSABLE_ENTITY, &[], &json!({ "error": text }))
}

/// Reads the body as JSON, does `work`, and answers with what it returns.
fn perform<T: DeserializeOwned>(
    app: &App,
    body: &str,
    work: impl FnOnce(&mut State, &T) -> Result<Value, ControlError>,
) -> Response {
    match serde_json::from_str(body) {
        Err(error) => refused(&error.to_string()),
        Ok(new) => match work(&mut app.lock(), &new) {
            Ok(value) => done(&value),
            Err(error) => refused(&error.to_string()),
        },
    }
}

async fn users(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewUser| Ok(json!({ "id": make::add_user(state, new)? })))
}

async fn members(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewMember| make::add_member(state, new).map(|()| json!({})))
}

async fn projects(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewProject| Ok(json!({ "id": make::add_project(state, new)? })))
}

async fn tokens(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewToken| Ok(json!({ "token": make::add_token(state, new)? })))
}

async fn token_changes(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &TokenChange| make::change_token(state, new).map(|()| json!({})))
}

async fn runners(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewRunner| make::add_runner(state, new))
}

async fn jobs(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewJob| Ok(json!({ "id": make::enqueue_job(state, new)? })))
}

async fn pipelines(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, new: &NewPipeline| {
        let id = make::start_pipeline(state, new)?;
        let jobs: Vec<i64> = state.jobs_of(id).map(|job| job.id).collect();
        Ok(json!({ "id": id, "jobs": jobs }))
    })
}

async fn job(AxumState(app): AxumState<App>, Path(id): Path<i64>) -> Response {
    let state = app.lock();
    state.jobs.get(&id).map_or_else(|| refused("no such job"), |job| done(&job_view(&state, job)))
}

async fn cut_trace(AxumState(app): AxumState<App>, Path(id): Path<i64>, body: String) -> Response {
    perform(&app, &body, |state, cut: &TraceCut| {
        if let Some(job) = state.jobs.get_mut(&id) {
            job.trace.truncate(cut.length);
        }
        Ok(json!({}))
    })
}

async fn clock(AxumState(app): AxumState<App>) -> Response {
    done(&json!({ "now": iso(app.lock().now()) }))
}

async fn move_clock(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, wanted: &ClockMove| {
        if wanted.freeze {
            state.clock.freeze();
        }
        advance(state, wanted.advance);
        Ok(json!({ "now": iso(state.now()) }))
    })
}

async fn sweep_now(AxumState(app): AxumState<App>) -> Response {
    sweep(&mut app.lock());
    done(&json!({}))
}

async fn add_fault(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, fault: &Fault| {
        state.faults.push(fault.clone());
        Ok(json!({}))
    })
}

async fn clear_faults(AxumState(app): AxumState<App>) -> Response {
    app.lock().faults.clear();
    done(&json!({}))
}

async fn settings(AxumState(app): AxumState<App>, body: String) -> Response {
    perform(&app, &body, |state, changes: &Value| {
        make::change_settings(state, changes)?;
        Ok(json!(state.settings))
    })
}

async fn state(AxumState(app): AxumState<App>) -> Response {
    done(&state_view(&app.lock()))
}

async fn requests(AxumState(app): AxumState<App>) -> Response {
    let state = app.lock();
    done(&json!(state.ledger.records().collect::<Vec<_>>()))
}

async fn forget_requests(AxumState(app): AxumState<App>) -> Response {
    app.lock().ledger.clear();
    done(&json!({}))
}

async fn counters(AxumState(app): AxumState<App>) -> Response {
    let state = app.lock();
    done(&json!(state.ledger.counts(state.now())))
}
