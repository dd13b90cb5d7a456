//! A job from the runner's side.

use serde_json::json;

use crate::client::{append, call, request_job, run_next, runner_call, send, stand_in, update_job};

#[test]
fn a_job_is_claimed_confirmed_logged_and_reported() {
    let server = stand_in();
    let (runner, token) = server.add_runner(json!({ "path": "hpc/solver", "tags": ["a", "b"] }));
    let id = server.enqueue("hpc/solver", json!({ "script": ["make"], "tags": ["a"] }));

    let given = request_job(&server, &token);
    assert_eq!((given.status, given.header("content-type")), (201, Some("application/json")));
    let job = given.json();
    assert_eq!(job["id"], id);
    let seen =
        call(&server, server.root_token(), "GET", "/projects/hpc%2Fsolver/jobs?scope[]=pending", json!(null));
    assert_eq!(seen.json()[0]["status"], "pending");
    assert_eq!(seen.json()[0]["runner"]["id"], runner);

    let confirmed = update_job(&server, &job, json!({ "state": "running" }));
    assert_eq!((confirmed.status, confirmed.header("job-status")), (200, Some("running")));
    assert_eq!(update_job(&server, &job, json!({ "state": "pending" })).status, 409);

    let first = append(&server, &job, 0, "hello ");
    assert_eq!((first.status, first.header("range")), (202, Some("0-6")));
    let wrong = append(&server, &job, 3, "again");
    assert_eq!((wrong.status, wrong.header("range")), (416, Some("0-6")));
    assert_eq!(append(&server, &job, 6, "world").status, 202);

    let end = json!({ "state": "failed", "failure_reason": "script_failure", "exit_code": 42 });
    assert_eq!(update_job(&server, &job, end).status, 200);
    let after = server.job(id);
    assert_eq!((&after["status"], &after["exit_code"]), (&json!("failed"), &json!(42)));
    assert_eq!(after["trace"], "hello world");
    let late = update_job(&server, &job, json!({ "state": "running" }));
    assert_eq!((late.status, late.header("job-status")), (403, Some("failed")));
    assert_eq!(late.json()["message"], "403 Forbidden - Job is not processing on runner");
}

#[test]
fn an_idle_runner_is_told_when_to_look_again() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "tags": ["a"] }));
    let ask = |last: &str| {
        let info = json!({ "features": { "refspecs": true } });
        let body = json!({ "token": token, "system_id": "s_1", "last_update": last, "info": info });
        runner_call(&server, "POST", "/jobs/request", body)
    };
    let idle = ask("");
    let value = idle.header("x-gitlab-last-update").unwrap().to_owned();
    assert_eq!((idle.status, ask(&value).status), (204, 204));
    server.enqueue("hpc/solver", json!({ "script": ["true"], "tags": ["other"] }));
    assert_eq!(ask(&value).header("x-gitlab-last-update"), Some(value.as_str()), "no job of its own");
    server.enqueue("hpc/solver", json!({ "script": ["true"], "tags": ["a"] }));
    assert_eq!(ask(&value).status, 201);
}

#[test]
fn canceling_reaches_the_runner_and_ends_as_canceled() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let id = server.enqueue("hpc/solver", json!({ "script": ["sleep 100"] }));
    let job = run_next(&server, &token);
    let path = format!("/projects/hpc%2Fsolver/jobs/{id}/cancel");
    let canceled = call(&server, server.root_token(), "POST", &path, json!(null));
    assert_eq!((canceled.status, canceled.json()["status"].clone()), (201, json!("canceling")));
    assert_eq!(append(&server, &job, 0, "x").header("job-status"), Some("canceling"));
    let end = json!({ "state": "failed", "failure_reason": "job_canceled" });
    assert_eq!(update_job(&server, &job, end).header("job-status"), Some("canceled"));
}

#[test]
fn artifacts_go_from_one_job_to_the_next() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let yaml = "build: {stage: build, script: [make], artifacts: {paths: [out/]}}\ntest: {script: [check]}\n";
    server.start_pipeline("hpc/solver", yaml);
    let build = run_next(&server, &token);
    let upload = |job: &serde_json::Value| {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"artifacts.zip\"\r\n\r\nPK-zip\r\n--XX--\r\n";
        let headers = [
            ("JOB-TOKEN", job["token"].as_str().unwrap()),
            ("Content-Type", "multipart/form-data; boundary=XX"),
        ];
        let path = format!("/api/v4/jobs/{}/artifacts?artifact_format=zip&artifact_type=archive", job["id"]);
        send(&server, "POST", &path, &headers, body).unwrap().status
    };
    assert_eq!(upload(&build), 201);
    assert_eq!(upload(&build), 400, "a second archive");
    update_job(&server, &build, json!({ "state": "success" }));
    assert_eq!(upload(&build), 403, "after the end");

    let test = run_next(&server, &token);
    let dependency = &test["dependencies"][0];
    assert_eq!(dependency["id"], build["id"]);
    assert_eq!(dependency["artifacts_file"], json!({ "filename": "artifacts.zip", "size": 6 }));
    let get = |secret: &str| {
        let path = format!("/api/v4/jobs/{}/artifacts", dependency["id"]);
        send(&server, "GET", &path, &[("JOB-TOKEN", secret)], b"").unwrap()
    };
    let found = get(dependency["token"].as_str().unwrap());
    assert_eq!((found.status, found.text.as_str()), (200, "PK-zip"));
    assert_eq!(get(build["token"].as_str().unwrap()).status, 401, "the token of a job that has ended");
}

#[test]
fn artifacts_may_be_large_but_not_larger_than_allowed() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    server.start_pipeline("hpc/solver", "build: {script: [make], artifacts: {paths: [out/]}}\n");
    let job = run_next(&server, &token);
    let upload = |kind: &str, size: usize| {
        let head = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\n";
        let body = [head.as_bytes(), &vec![b'x'; size], b"\r\n--XX--\r\n"].concat();
        let headers = [
            ("JOB-TOKEN", job["token"].as_str().unwrap()),
            ("Content-Type", "multipart/form-data; boundary=XX"),
        ];
        let path = format!("/api/v4/jobs/{}/artifacts?artifact_type={kind}", job["id"]);
        send(&server, "POST", &path, &headers, &body).unwrap().status
    };
    assert_eq!(upload("archive", 5 << 20), 201);
    server.change_settings(json!({ "max_artifact_size": 1 << 20 }));
    assert_eq!(upload("junit", 2 << 20), 413);
}

#[test]
fn wrong_tokens_are_403_and_router_discovery_is_501() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver" }));
    assert_eq!(request_job(&server, "glrt-wrong").status, 403);
    let path = "/api/v4/runners/router/discovery";
    assert_eq!(send(&server, "GET", path, &[("RUNNER-TOKEN", &token)], b"").unwrap().status, 501);
    assert_eq!(send(&server, "GET", path, &[("RUNNER-TOKEN", "glrt-wrong")], b"").unwrap().status, 403);
    assert_eq!(runner_call(&server, "POST", "/runners", json!({ "token": "x" })).status, 410);
    assert_eq!(update_job(&server, &json!({ "id": 9999, "token": "x" }), json!({})).status, 403);
}

#[test]
fn a_job_that_the_runner_cannot_do_fails_at_hand_out() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let job = json!({ "script": ["x"], "artifacts": { "paths": ["out/"], "exclude": ["out/tmp"] } });
    let id = server.enqueue("hpc/solver", job);
    let info = json!({ "features": { "refspecs": true } });
    let asked = runner_call(&server, "POST", "/jobs/request", json!({ "token": token, "info": info }));
    assert_eq!(asked.status, 204);
    assert_eq!(server.job(id)["failure_reason"], "runner_unsupported");
}

#[test]
fn a_paused_runner_gets_nothing_and_its_jobs_are_stuck() {
    let server = stand_in();
    let (runner, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let id = server.enqueue("hpc/solver", json!({ "script": ["x"] }));
    let pause = |paused: bool| {
        let path = format!("/runners/{runner}");
        assert_eq!(call(&server, server.root_token(), "PUT", &path, json!({ "paused": paused })).status, 200);
    };
    pause(true);
    let asked = request_job(&server, &token);
    assert_eq!((asked.status, &server.job(id)["stuck"]), (204, &json!(true)));
    pause(false);
    assert_eq!(server.job(id)["stuck"], false, "asking was a contact");
    assert_eq!(request_job(&server, &token).status, 201);
}
