//! `PUT /jobs/:id`: the job's state.

use std::time::Duration;

use serde_json::json;
use ureq::http::Method;

use super::{Client, JobCredentials, RemoteState, request};
use crate::runner_log::{self, Level};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobState {
    Running,
    Success,
    Failed,
}

#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) state: JobState,
    pub(crate) failure_reason: Option<String>,
    pub(crate) checksum: String,
    pub(crate) bytesize: usize,
    pub(crate) exit_code: i32,
}

impl Update {
    /// The call right after the job was received: nothing but the state.
    pub(crate) fn running() -> Self {
        Self {
            state: JobState::Running,
            failure_reason: None,
            checksum: String::new(),
            bytesize: 0,
            exit_code: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateState {
    Succeeded,
    /// 202: ask again.
    AcceptedButNotCompleted,
    /// 412: the log must be sent again from its start.
    TraceValidationFailed,
    /// The job is no longer ours.
    Abort,
    Failed,
}

#[derive(Debug)]
pub(crate) struct UpdateAnswer {
    pub(crate) state: UpdateState,
    pub(crate) cancel: bool,
    pub(crate) interval: Option<Duration>,
}

impl Client {
    pub(crate) fn update_job(&self, job: &JobCredentials, update: &Update) -> UpdateAnswer {
        let state = match update.state {
            JobState::Running => "running",
            JobState::Success => "success",
            JobState::Failed => "failed",
        };
        let mut body =
            json!({"info": request::info(&self.runner), "token": job.token, "state": state, "output": {}});
        if let Some(reason) = &update.failure_reason {
            body["failure_reason"] = json!(reason);
        }
        if !update.checksum.is_empty() {
            body["checksum"] = json!(update.checksum);
            body["output"]["checksum"] = json!(update.checksum);
        }
        if update.bytesize > 0 {
            body["output"]["bytesize"] = json!(update.bytesize);
        }
        if update.exit_code != 0 {
            body["exit_code"] = json!(update.exit_code);
        }
        let answer = self.json(Method::PUT, &format!("jobs/{}", job.id), ("JOB-TOKEN", &job.token), &body);
        let (code, remote) = match &answer {
            Ok(response) => (response.status().as_u16(), RemoteState::of(response)),
            Err(_) => (0, RemoteState::default()),
        };
        let result = classify(code, &remote);
        let level = if result.state == UpdateState::Abort || result.state == UpdateState::Failed {
            Level::Warning
        } else {
            Level::Info
        };
        let message = format!("Submitting job to coordinator... {}", outcome(result.state));
        runner_log::log(
            level,
            message,
            &[("code", &code), ("job", &job.id), ("job-status", &remote.status), ("state", &state)],
        );
        result
    }
}

/// `code` is 0 where there was no answer.
fn classify(code: u16, remote: &RemoteState) -> UpdateAnswer {
    let state = match code {
        _ if remote.is_failed(code) => UpdateState::Abort,
        200 => UpdateState::Succeeded,
        202 => UpdateState::AcceptedButNotCompleted,
        412 => UpdateState::TraceValidationFailed,
        404 => UpdateState::Abort,
        _ => UpdateState::Failed,
    };
    UpdateAnswer { state, cancel: remote.is_canceling(), interval: remote.interval }
}

fn outcome(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Succeeded => "ok",
        UpdateState::AcceptedButNotCompleted => "accepted, but not yet completed",
        UpdateState::TraceValidationFailed => "trace validation failed",
        UpdateState::Abort => "job failed",
        UpdateState::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_header_beats_the_code() {
        let with = |status: &str| RemoteState { status: status.into(), interval: None };
        for (code, status, state) in [
            (200, "", UpdateState::Succeeded),
            (200, "running", UpdateState::Succeeded),
            (200, "canceled", UpdateState::Abort),
            (200, "failed", UpdateState::Abort),
            (200, "canceling", UpdateState::Succeeded),
            (403, "", UpdateState::Abort),
            (404, "", UpdateState::Abort),
            (202, "running", UpdateState::AcceptedButNotCompleted),
            (412, "", UpdateState::TraceValidationFailed),
            (500, "", UpdateState::Failed),
            (0, "", UpdateState::Failed),
        ] {
            assert_eq!(classify(code, &with(status)).state, state, "{code} {status}");
        }
        assert!(classify(200, &with("canceling")).cancel);
    }
}
