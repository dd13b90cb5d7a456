//! Every endpoint that a runner, python-gitlab, glab or our own programs call, in one table: who gets which status.

use serde_json::{Value, json};

use crate::client::{run_next, send, stand_in};

/// Whose token comes with the call, and how.
#[derive(Debug, Clone, Copy)]
enum Who {
    Nobody,
    Root,
    /// A project token with `read_api` alone.
    Reader,
    Runner,
    /// The job that runs.
    Job,
}
use Who::{Job, Nobody, Reader, Root, Runner};

/// Method, path, who, JSON body, status. The rows run in this order on one server. `PROJECT`, `RUNNER`, `JOB`, `WAITING`
/// and `PIPELINE` stand for ids.
const TABLE: &[(&str, &str, Who, &str, u16)] = &[
    ("GET", "/user", Root, "", 200),
    ("GET", "/user", Nobody, "", 401),
    ("GET", "/version", Reader, "", 200),
    ("GET", "/metadata", Root, "", 200),
    ("GET", "/personal_access_tokens/self", Reader, "", 200),
    ("GET", "/personal_access_tokens/self", Nobody, "", 401),
    ("GET", "/projects/hpc%2Fsolver", Reader, "", 200),
    ("GET", "/projects/PROJECT", Reader, "", 200),
    ("GET", "/projects/hpc%2Fnone", Reader, "", 404),
    ("GET", "/projects/PROJECT/jobs?scope[]=pending&scope[]=running", Reader, "", 200),
    ("GET", "/projects/PROJECT/jobs?scope=dead", Reader, "", 400),
    ("GET", "/projects/PROJECT/jobs", Nobody, "", 401),
    ("GET", "/projects/PROJECT/jobs/JOB", Reader, "", 200),
    ("GET", "/projects/PROJECT/jobs/1000", Reader, "", 404),
    ("GET", "/projects/PROJECT/jobs/JOB/trace", Reader, "", 200),
    ("POST", "/projects/PROJECT/jobs/WAITING/cancel", Reader, "", 403),
    ("POST", "/projects/PROJECT/jobs/WAITING/cancel", Root, "", 201),
    ("POST", "/projects/PROJECT/jobs/WAITING/retry", Root, "", 201),
    ("POST", "/projects/PROJECT/jobs/JOB/play", Root, "", 400),
    ("GET", "/projects/PROJECT/pipelines", Reader, "", 200),
    ("GET", "/projects/PROJECT/pipelines/PIPELINE", Reader, "", 200),
    ("GET", "/projects/PROJECT/pipelines/1000", Reader, "", 404),
    ("GET", "/projects/PROJECT/pipelines/PIPELINE/jobs", Reader, "", 200),
    (
        "POST",
        "/user/runners",
        Root,
        r#"{"runner_type":"project_type","project_id":PROJECT,"tag_list":"x"}"#,
        201,
    ),
    ("POST", "/user/runners", Root, r#"{"runner_type":"project_type"}"#, 400),
    ("POST", "/user/runners", Nobody, "{}", 401),
    ("POST", "/user/runners", Reader, r#"{"runner_type":"project_type","project_id":PROJECT}"#, 403),
    ("GET", "/runners", Root, "", 200),
    ("GET", "/runners?status=dead", Root, "", 400),
    ("GET", "/runners/all", Root, "", 200),
    ("GET", "/runners/all", Reader, "", 403),
    ("GET", "/projects/PROJECT/runners", Reader, "", 200),
    ("GET", "/groups/hpc/runners", Root, "", 200),
    ("GET", "/runners/RUNNER", Root, "", 200),
    ("GET", "/runners/RUNNER/managers", Root, "", 200),
    ("GET", "/runners/RUNNER/jobs", Root, "", 200),
    ("GET", "/runners/1000", Root, "", 404),
    ("PUT", "/runners/RUNNER", Root, r#"{"description":"new"}"#, 200),
    ("PUT", "/runners/RUNNER", Reader, r#"{"description":"new"}"#, 403),
    ("PUT", "/runners/1000", Root, r#"{"description":"new"}"#, 404),
    ("POST", "/runners", Nobody, r#"{"token":"old"}"#, 410),
    ("GET", "/runners/router/discovery", Runner, "", 501),
    ("POST", "/runners/verify", Runner, r#"{"system_id":"s_1"}"#, 200),
    ("POST", "/runners/verify", Runner, r#"{"token":"glrt-wrong"}"#, 403),
    ("POST", "/jobs/request", Runner, r#"{"token":"glrt-wrong"}"#, 403),
    ("GET", "/job", Job, "", 200),
    ("GET", "/job", Nobody, "", 401),
    ("GET", "/job", Root, "", 404),
    ("PUT", "/jobs/JOB", Job, r#"{"state":"running"}"#, 200),
    ("PUT", "/jobs/JOB", Job, r#"{"state":"pending"}"#, 409),
    ("PUT", "/jobs/JOB", Nobody, r#"{"state":"running"}"#, 403),
    ("PUT", "/jobs/JOB", Job, r#"{"state":"dead"}"#, 400),
    ("PATCH", "/jobs/JOB/trace", Job, "", 400),
    ("PATCH", "/jobs/JOB/trace", Nobody, "", 403),
    ("POST", "/jobs/JOB/artifacts", Job, "", 400),
    ("POST", "/jobs/JOB/artifacts", Nobody, "", 403),
    ("GET", "/jobs/JOB/artifacts", Job, "", 404),
    ("GET", "/jobs/JOB/artifacts", Nobody, "", 401),
    ("PUT", "/jobs/JOB", Job, r#"{"state":"success"}"#, 200),
    ("POST", "/runners/RUNNER/reset_authentication_token", Reader, "", 403),
    ("DELETE", "/runners/managers", Runner, "{}", 400),
    ("DELETE", "/runners/managers", Runner, r#"{"system_id":"s_1"}"#, 204),
    ("DELETE", "/runners/managers", Runner, r#"{"system_id":"s_1"}"#, 404),
    ("POST", "/runners/reset_authentication_token", Runner, r#"{"token":"glrt-wrong"}"#, 403),
    ("DELETE", "/runners", Runner, r#"{"token":"glrt-wrong"}"#, 403),
    ("DELETE", "/runners", Runner, "", 204),
    ("DELETE", "/runners/RUNNER", Root, "", 404),
    ("POST", "/runners/RUNNER/reset_authentication_token", Root, "", 404),
    ("GET", "/no/such/page", Root, "", 404),
];

#[test]
fn every_endpoint_answers_as_gitlab_does() {
    let server = stand_in();
    let (runner, runner_token) = server.add_runner(json!({ "path": "hpc/solver", "tags": ["a"] }));
    let yaml = "a: {tags: [a], script: [x]}\nb: {tags: [b], script: [x]}\n";
    let pipeline = server.start_pipeline("hpc/solver", yaml);
    let job = run_next(&server, &runner_token);
    let state = server.state();
    let waiting = state["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "b").unwrap();
    let ids = [
        ("PROJECT", state["projects"][0]["id"].to_string()),
        ("RUNNER", runner.to_string()),
        ("JOB", job["id"].to_string()),
        ("WAITING", waiting["id"].to_string()),
        ("PIPELINE", pipeline.to_string()),
    ];
    let fill = |text: &str| ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id));
    let reader = server.project_token("hpc/solver", &["read_api"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (method, path, who, body, status) in TABLE {
        let token = match who {
            Nobody => None,
            Root => Some(("PRIVATE-TOKEN", server.root_token().to_owned())),
            Reader => Some(("PRIVATE-TOKEN", reader.clone())),
            Runner => Some(("RUNNER-TOKEN", runner_token.clone())),
            Job => Some(("JOB-TOKEN", text(&job["token"]))),
        };
        let headers = token.iter().map(|(name, secret)| (*name, secret.as_str()));
        let headers: Vec<(&str, &str)> = headers.chain([("Content-Type", "application/json")]).collect();
        let target = format!("/api/v4{}", fill(path));
        let answer = send(&server, method, &target, &headers, fill(body).as_bytes()).unwrap();
        assert_eq!(answer.status, *status, "{method} {path} by {who:?} {body}: {}", answer.text);
    }
}
