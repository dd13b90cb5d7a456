//! Trouble on demand.

use gitlab_stand_in::{Options, StandIn};
use serde_json::json;

use crate::client::{call, run_next, send, stand_in, update_job};

const JOBS: &str = "/projects/hpc%2Fsolver/jobs";

#[test]
fn the_two_shapes_of_429() {
    let server = stand_in();
    let route = "GET /api/v4/projects/{id}/jobs";
    server.add_fault(json!({ "route": route, "answer": { "throttle": { "retry_after": 7 } } }));
    server.add_fault(json!({ "route": route, "answer": "limiter" }));
    let ask = || call(&server, server.root_token(), "GET", JOBS, json!(null));
    let throttled = ask();
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("7")));
    assert_eq!(throttled.text, "Retry later\n");
    let limited = ask();
    assert_eq!((limited.status, limited.header("retry-after")), (429, None));
    assert!(limited.json()["message"]["error"].is_string(), "{}", limited.text);
    assert_eq!(ask().status, 200);
}

#[test]
fn job_lists_are_limited_per_user_and_counted() {
    let server = stand_in();
    server.change_settings(json!({ "project_jobs_per_minute": 2 }));
    let ask = || call(&server, server.root_token(), "GET", JOBS, json!(null)).status;
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    assert_eq!(server.counters()["root"]["GET /api/v4/projects/{id}/jobs"]["this_minute"], 3);
    server.advance(60);
    assert_eq!(ask(), 200);
}

#[test]
fn a_dropped_connection_has_no_answer_but_is_recorded() {
    let server = stand_in();
    server.add_fault(json!({ "route": "GET *", "answer": "drop" }));
    let headers = [("PRIVATE-TOKEN", server.root_token())];
    assert!(send(&server, "GET", "/api/v4/user", &headers, b"").is_err());
    assert_eq!(send(&server, "GET", "/api/v4/user", &headers, b"").unwrap().status, 200);
    let statuses: Vec<_> = server.requests().iter().map(|request| request["status"].clone()).collect();
    assert_eq!(statuses, [0, 200]);
}

#[test]
fn the_last_report_can_be_put_off() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let id = server.enqueue("hpc/solver", json!({ "script": ["true"] }));
    let job = run_next(&server, &token);
    let answer = json!({ "status": { "status": 202, "headers": { "X-GitLab-Trace-Update-Interval": "1" } } });
    server.add_fault(json!({ "route": "PUT *", "body_contains": "\"success\"", "answer": answer }));
    let report = || update_job(&server, &job, json!({ "state": "success" })).status;
    assert_eq!((report(), server.job(id)["status"].clone()), (202, json!("running")));
    assert_eq!((report(), server.job(id)["status"].clone()), (200, json!("success")));
}

#[test]
fn the_self_signed_certificate_is_refused_by_default() {
    let server = StandIn::start(Options { tls: true, ..Options::default() }).unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    assert!(server.certificate().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let error = send(&server, "GET", "/api/v4/version", &[], b"").unwrap_err().to_string();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
}
