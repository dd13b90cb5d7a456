//! A small HTTP client that takes every answer as it is.

use gitlab_stand_in::{Options, StandIn};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Request, Response};

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The target of `rel="next"`.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.header("link")?.split(", ").find(|link| link.ends_with("rel=\"next\""))?;
        link.split_once('<')?.1.split_once('>').map(|(target, _)| target.to_owned())
    }
}

/// A stand-in with a frozen clock and the project `hpc/solver`.
pub(crate) fn stand_in() -> StandIn {
    let server = StandIn::start(Options { frozen_clock: true, ..Options::default() }).unwrap();
    server.add_project("hpc/solver");
    server
}

/// Sends one request; `headers` as name and value, `target` a path below the URL, or a whole URL.
pub(crate) fn send(
    server: &StandIn,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    let url =
        if target.starts_with("http") { target.to_owned() } else { format!("{}{target}", server.url()) };
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent: Agent =
        Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build().into();
    let response =
        agent.configure_request(request.body(body.to_vec())?).allow_non_standard_methods(true).build();
    let mut response: Response<ureq::Body> = agent.run(response)?;
    let text = response.body_mut().read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), text })
}

/// A call with a user's token and, unless null, a JSON body.
pub(crate) fn call(server: &StandIn, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let path = if path.starts_with("http") { path.to_owned() } else { format!("/api/v4{path}") };
    let headers = [("PRIVATE-TOKEN", token), ("Content-Type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    send(server, method, &path, &headers, &body).unwrap()
}

/// A call of a runner: JSON, the token in the body.
pub(crate) fn runner_call(server: &StandIn, method: &str, path: &str, body: Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    send(server, method, &format!("/api/v4{path}"), &headers, body.to_string().as_bytes()).unwrap()
}

/// `POST /jobs/request` as gitlab-runner 19 sends it.
pub(crate) fn request_job(server: &StandIn, token: &str) -> Answer {
    let features = json!({
        "two_phase_job_commit": true, "refspecs": true, "upload_multiple_artifacts": true,
        "artifacts_exclude": true, "return_exit_code": true, "cancel_gracefully": true,
    });
    let info = json!({ "name": "gitlab-runner", "version": "19.4.0", "features": features });
    runner_call(server, "POST", "/jobs/request", json!({ "token": token, "system_id": "s_1", "info": info }))
}

/// `PUT /jobs/:id` with these fields beside the token.
pub(crate) fn update_job(server: &StandIn, job: &Value, fields: Value) -> Answer {
    let mut body = fields;
    body["token"] = job["token"].clone();
    runner_call(server, "PUT", &format!("/jobs/{}", job["id"]), body)
}

/// `PATCH /jobs/:id/trace` from this offset.
pub(crate) fn append(server: &StandIn, job: &Value, offset: usize, text: &str) -> Answer {
    let range = format!("{offset}-{}", offset + text.len() - 1);
    let headers = [
        ("JOB-TOKEN", job["token"].as_str().unwrap()),
        ("Content-Type", "text/plain"),
        ("Content-Range", range.as_str()),
    ];
    let path = format!("/api/v4/jobs/{}/trace?debug_trace=false", job["id"]);
    send(server, "PATCH", &path, &headers, text.as_bytes()).unwrap()
}

/// Takes the next job and confirms it.
pub(crate) fn run_next(server: &StandIn, token: &str) -> Value {
    let given = request_job(server, token);
    assert_eq!(given.status, 201, "{}", given.text);
    let job = given.json();
    assert_eq!(update_job(server, &job, json!({ "state": "running" })).status, 200);
    job
}
