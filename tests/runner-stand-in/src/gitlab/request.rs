//! `POST /jobs/request`, and what a runner says about itself in each call.

use serde_json::{Value, json};
use ureq::http::Method;

use super::Client;
use crate::config::Runner;
use crate::job::{self, Job};
use crate::runner_log::{self, Level};
use crate::version;

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
        let status = response.status();
        if status != 201 || has_json(&response) {
            let header = response.headers().get("X-GitLab-Last-Update").and_then(|value| value.to_str().ok());
            *last_update = header.unwrap_or("").to_owned();
        }
        match status.as_u16() {
            201 if !has_json(&response) => {
                poll_log(Level::Warning, "failed", &self.runner, &"response is not application/json");
                Poll::Nothing
            }
            201 => match response
                .body_mut()
                .with_config()
                .limit(u64::MAX)
                .read_to_vec()
                .map(|body| job::parse(&body))
            {
                Ok(Ok(job)) => {
                    poll_log(Level::Info, "received", &self.runner, &job.id);
                    Poll::Job(Box::new(job))
                }
                Ok(Err(error)) => {
                    poll_log(
                        Level::Warning,
                        "failed",
                        &self.runner,
                        &format!("decoding json payload {error}"),
                    );
                    Poll::Nothing
                }
                Err(error) => {
                    poll_log(Level::Warning, "failed", &self.runner, &error);
                    Poll::Nothing
                }
            },
            204 => Poll::Nothing,
            403 => {
                poll_log(Level::Error, "forbidden", &self.runner, &status);
                Poll::Unhealthy
            }
            503 => {
                poll_log(Level::Warning, "GitLab instance currently unavailable", &self.runner, &status);
                Poll::Nothing
            }
            _ => {
                poll_log(Level::Warning, "failed", &self.runner, &status);
                Poll::Nothing
            }
        }
    }
}

fn has_json(response: &ureq::http::Response<ureq::Body>) -> bool {
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
