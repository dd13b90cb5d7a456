//! `POST /jobs/request`, and what a runner says about itself in each call.

use serde_json::{Value, json};
use ureq::http::{Method, Response};

use super::Client;
use crate::config::Runner;
use crate::job::{self, Job};
use crate::runner_log::{self, Level};
use crate::{random, version};

/// All that the real program knows; which are true depends on the executor.
const FEATURES: [&str; 31] = [
    "variables",
    "image",
    "services",
    "artifacts",
    "cache",
    "fallback_cache_keys",
    "shared",
    "upload_multiple_artifacts",
    "upload_raw_artifacts",
    "session",
    "terminal",
    "refspecs",
    "masking",
    "proxy",
    "raw_variables",
    "artifacts_exclude",
    "multi_build_steps",
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "vault_secrets",
    "cancelable",
    "return_exit_code",
    "service_variables",
    "service_multiple_aliases",
    "image_executor_opts",
    "service_executor_opts",
    "cancel_gracefully",
    "native_steps_integration",
    "two_phase_job_commit",
    "job_inputs",
];
const OF_NETWORK_AND_SHELL: [&str; 19] = [
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "cancelable",
    "cancel_gracefully",
    "two_phase_job_commit",
    "job_inputs",
    "artifacts",
    "upload_multiple_artifacts",
    "upload_raw_artifacts",
    "cache",
    "fallback_cache_keys",
    "refspecs",
    "masking",
    "raw_variables",
    "artifacts_exclude",
    "multi_build_steps",
    "vault_secrets",
    "return_exit_code",
];
const OF_CUSTOM: [&str; 3] = ["variables", "shared", "service_variables"];
const OF_SHELL: [&str; 5] = ["variables", "shared", "session", "terminal", "native_steps_integration"];

/// What a poll brought.
#[derive(Debug)]
pub(crate) enum Poll {
    Job(Box<Job>),
    /// Nothing, or a fault that passes: ask again in three seconds.
    Nothing,
    /// The token is not accepted.
    Unhealthy,
}

impl Client {
    /// Asks for a job. `last_update` is kept between calls and echoed to the server.
    pub(crate) fn request_job(&self, last_update: &mut String) -> Poll {
        let mut body = json!({"info": info(&self.runner), "token": self.runner.token, "system_id": self.runner.system_id});
        if !last_update.is_empty() {
            body["last_update"] = json!(last_update);
        }
        let answer = self.json(Method::POST, "jobs/request", ("RUNNER-TOKEN", &self.runner.token), &body);
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                poll_log(Level::Warning, "failed", &self.runner, &error);
                return Poll::Nothing;
            }
        };
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let correlation_id = header("X-Request-Id").unwrap_or_else(random::hex);
        let update = header("X-GitLab-Last-Update").unwrap_or_default();
        let (status, is_json) = (response.status(), has_json(&response));
        if status != 201 || is_json {
            *last_update = update;
        }
        let (level, outcome, detail) = match status.as_u16() {
            201 if !is_json => (Level::Warning, "failed", "response is not application/json".to_owned()),
            201 => match read_job(&mut response) {
                Ok(mut job) => {
                    poll_log(Level::Info, "received", &self.runner, &job.id);
                    job.correlation_id = correlation_id;
                    return Poll::Job(Box::new(job));
                }
                Err(problem) => (Level::Warning, "failed", problem),
            },
            204 => return Poll::Nothing,
            403 => (Level::Error, "forbidden", status.to_string()),
            503 => (Level::Warning, "GitLab instance currently unavailable", status.to_string()),
            _ => (Level::Warning, "failed", status.to_string()),
        };
        poll_log(level, outcome, &self.runner, &detail);
        if status == 403 { Poll::Unhealthy } else { Poll::Nothing }
    }
}

fn read_job(response: &mut Response<ureq::Body>) -> Result<Job, String> {
    let body =
        response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(|error| error.to_string())?;
    job::parse(&body).map_err(|error| format!("decoding json payload {error}"))
}

fn has_json(response: &Response<ureq::Body>) -> bool {
    let kind = response.headers().get("Content-Type").and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

fn poll_log(level: Level, outcome: &str, runner: &Runner, detail: &dyn std::fmt::Display) {
    let key = if level == Level::Info { "job" } else { "status" };
    let message = format!("Checking for jobs... {outcome}");
    let short_token = runner.short_token();
    let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![(key, detail), ("runner", &short_token)];
    fields.sort_by_key(|(key, _)| *key);
    runner_log::log(level, message, &fields);
}

/// The `info` object of every call with a JSON body.
pub(super) fn info(runner: &Runner) -> Value {
    let own: &[&str] = if runner.executor == "shell" { &OF_SHELL } else { &OF_CUSTOM };
    let feature = |name: &&str| {
        let on = OF_NETWORK_AND_SHELL.contains(name) || own.contains(name);
        ((*name).to_owned(), Value::Bool(on))
    };
    let features: serde_json::Map<String, Value> = FEATURES.iter().map(feature).collect();
    let mut info = json!({
        "name": version::NAME,
        "version": version::VERSION,
        "revision": version::REVISION,
        "platform": std::env::consts::OS,
        "architecture": version::architecture(),
        "executor": runner.executor,
        "shell": if runner.shell.is_empty() { "bash" } else { runner.shell.as_str() },
        "features": features,
        "config": {"gpus": ""},
    });
    if !runner.labels.is_empty() {
        info["labels"] = json!(runner.labels);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_runner_passes_gitlabs_bars_and_claims_no_images() {
        let info = info(&Runner { executor: "custom".into(), ..Runner::default() });
        let features = info["features"].as_object().unwrap();
        assert_eq!(features.len(), FEATURES.len());
        for barred in [
            "upload_multiple_artifacts",
            "refspecs",
            "artifacts_exclude",
            "multi_build_steps",
            "return_exit_code",
        ] {
            assert_eq!(features[barred], true, "{barred}");
        }
        assert_eq!(features["image"], false);
        assert_eq!(features["shared"], true);
        assert_eq!(info["shell"], "bash");
    }
}
