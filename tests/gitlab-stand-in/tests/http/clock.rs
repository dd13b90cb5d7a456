//! What time does to jobs.

use serde_json::json;

use crate::client::{request_job, runner_call, stand_in, update_job};

const HOUR: i64 = 3600;

#[test]
fn a_job_without_an_online_runner_ends_in_the_second_hour() {
    let server = stand_in();
    server.add_runner(json!({ "path": "hpc/solver", "tags": ["a"] }));
    server.advance(60);
    let id = server.enqueue("hpc/solver", json!({ "script": ["true"], "tags": ["a"] }));
    server.advance(HOUR);
    assert_eq!(server.job(id)["status"], "pending", "older than an hour, but no sweep yet");
    server.advance(HOUR);
    assert_eq!(server.job(id)["failure_reason"], "stuck_pending_no_matching_runners");
}

#[test]
fn keep_alive_saves_it_until_the_next_day() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "tags": ["a"] }));
    let id = server.enqueue("hpc/solver", json!({ "script": ["true"], "tags": ["a"] }));
    for _ in 0..47 {
        let unknown = json!({ "token": token, "system_id": "r_none" });
        assert_eq!(runner_call(&server, "DELETE", "/runners/managers", unknown).status, 404);
        server.advance(HOUR / 2);
    }
    assert_eq!(server.job(id)["status"], "pending");
    server.advance(HOUR);
    assert_eq!(server.job(id)["failure_reason"], "stuck_pending_with_matching_runners");
}

#[test]
fn a_claim_lasts_two_minutes_unless_it_is_extended() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let id = server.enqueue("hpc/solver", json!({ "script": ["true"] }));
    let job = request_job(&server, &token).json();
    server.advance(100);
    assert_eq!(update_job(&server, &job, json!({ "state": "pending" })).status, 200);
    server.advance(100);
    assert_eq!(server.job(id)["claimed"], true);
    server.advance(30);
    assert_eq!(server.job(id)["failure_reason"], "runner_provisioning_timeout");
    assert_eq!(update_job(&server, &job, json!({ "state": "running" })).status, 403);
}
