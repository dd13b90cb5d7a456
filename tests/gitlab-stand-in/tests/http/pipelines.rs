//! Pipelines: order of stages, retries, permission to fail.

use serde_json::{Value, json};

use crate::client::{call, run_next, stand_in, update_job};

const YAML: &str = "
stages: [build, test]
variables: {LEVEL: global, ONLY: here}
default:
  image: {name: 'busybox:1', entrypoint: ['']}
build:
  stage: build
  variables: {LEVEL: job}
  before_script: [echo before]
  script: [make]
  cache: {key: main, paths: [.cache/], fallback_keys: [old]}
fails:
  stage: build
  allow_failure: {exit_codes: 42}
  script: exit 42
test:
  script: [make check]
  retry: 1
";

fn statuses(server: &gitlab_stand_in::StandIn) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let state = server.state();
    state["jobs"].as_array().unwrap().iter().map(|job| (text(&job["name"]), text(&job["status"]))).collect()
}

#[test]
fn later_stages_wait_for_earlier_ones() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    server.start_pipeline("hpc/solver", YAML);
    let pair = |name: &str, status: &str| (name.to_owned(), status.to_owned());
    assert_eq!(
        statuses(&server),
        [pair("build", "pending"), pair("fails", "pending"), pair("test", "created")]
    );
    let build = run_next(&server, &token);
    let values: Vec<&Value> = build["variables"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["key"] == "LEVEL")
        .map(|v| &v["value"])
        .collect();
    assert_eq!(values, ["job"]);
    assert_eq!(build["steps"][0]["script"], json!(["echo before", "make"]));
    assert_eq!(build["image"]["entrypoint"], json!([""]));
    assert_eq!(build["cache"][0]["key"], "main-protected");
    update_job(&server, &build, json!({ "state": "success" }));
    let fails = run_next(&server, &token);
    let end = json!({ "state": "failed", "failure_reason": "script_failure", "exit_code": 42 });
    update_job(&server, &fails, end.clone());
    assert_eq!(statuses(&server)[2], pair("test", "pending"), "the failure is allowed");

    let test = run_next(&server, &token);
    update_job(&server, &test, end);
    assert_eq!(statuses(&server)[3], pair("test", "pending"), "tried again");
    let again = run_next(&server, &token);
    update_job(&server, &again, json!({ "state": "success" }));
    assert_eq!(server.state()["pipelines"][0]["status"], "success");
}

#[test]
fn a_failure_skips_what_depends_on_it() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let yaml = "a: {stage: build, script: [x]}\nb: {script: [x]}\nc: {script: [x], when: on_failure}\n";
    server.start_pipeline("hpc/solver", yaml);
    let first = run_next(&server, &token);
    update_job(&server, &first, json!({ "state": "failed", "failure_reason": "script_failure" }));
    let names: Vec<String> = statuses(&server).into_iter().map(|(_, status)| status).collect();
    assert_eq!(names, ["failed", "skipped", "pending"]);
    update_job(&server, &run_next(&server, &token), json!({ "state": "success" }));
    assert_eq!(server.state()["pipelines"][0]["status"], "failed");
}

#[test]
fn durations_of_pipelines_are_whole_seconds() {
    let server = stand_in();
    let (_, token) = server.add_runner(json!({ "path": "hpc/solver", "run_untagged": true }));
    let id = server.start_pipeline("hpc/solver", "a: {script: [x]}\n");
    server.advance(2);
    let job = run_next(&server, &token);
    server.advance(3);
    update_job(&server, &job, json!({ "state": "success" }));
    let path = format!("/projects/hpc%2Fsolver/pipelines/{id}");
    let text = call(&server, server.root_token(), "GET", &path, Value::Null).text;
    assert!(text.contains(r#""duration":3,"#) && text.contains(r#""queued_duration":2,"#), "{text}");
}
