//! Small servers for unit tests.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::control::{add_project, add_runner, enqueue_job};
use crate::model::State;

/// An empty server whose clock stands still.
pub(crate) fn server() -> State {
    let mut clock = Clock::real();
    clock.freeze();
    State::new("http://127.0.0.1:1".to_owned(), PathBuf::new(), clock)
}

/// Adds a private project with a protected `main`; returns its id.
pub(crate) fn project_of(state: &mut State, path: &str) -> i64 {
    add_project(state, &serde_json::from_value(json!({ "path": path })).unwrap()).unwrap()
}

/// Adds a runner; `spec` as in the control API. Returns its id.
pub(crate) fn runner_of(state: &mut State, spec: Value) -> i64 {
    add_runner(state, &serde_json::from_value(spec).unwrap()).unwrap()["id"].as_i64().unwrap()
}

/// Adds a pending job with these keys, on `reference`; returns its id.
pub(crate) fn job_of(state: &mut State, project: &str, reference: &str, keys: Value) -> i64 {
    let mut job = json!({ "script": ["true"] });
    job.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let new = json!({ "project": project, "ref": reference, "job": job });
    enqueue_job(state, &serde_json::from_value(new).unwrap()).unwrap()
}
