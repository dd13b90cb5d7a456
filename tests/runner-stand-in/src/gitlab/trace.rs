//! `PATCH /jobs/:id/trace`: a piece of the job log.

use std::time::Duration;

use ureq::http::Method;

use super::{Client, JobCredentials, RemoteState};
use crate::runner_log::{self, Level};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchState {
    Succeeded,
    /// 416: the server is elsewhere.
    RangeMismatch,
    /// 404, ignored while the job runs.
    NotFound,
    /// The job is no longer ours.
    Abort,
    Failed,
}

#[derive(Debug)]
pub(crate) struct PatchAnswer {
    pub(crate) state: PatchState,
    /// From where to go on.
    pub(crate) offset: usize,
    pub(crate) cancel: bool,
    pub(crate) interval: Option<Duration>,
}

impl Client {
    /// Sends `chunk`, which starts at byte `start` of the log. The token goes into the header only.
    pub(crate) fn patch_trace(
        &self,
        job: &JobCredentials,
        chunk: &[u8],
        start: usize,
        debug: bool,
    ) -> PatchAnswer {
        let end = start + chunk.len();
        let path = format!("jobs/{}/trace?debug_trace={debug}", job.id);
        let range = format!("{start}-{}", end - 1);
        let answer = self.with_retries(|| {
            let request = self.request(Method::PATCH, &path, ("JOB-TOKEN", &job.token));
            request.header("Content-Type", "text/plain").header("Content-Range", &range).body(chunk)
        });
        let (code, remote, server_range) = match &answer {
            Ok(response) => {
                let range =
                    response.headers().get("Range").and_then(|value| value.to_str().ok()).unwrap_or("");
                (response.status().as_u16(), RemoteState::of(response), range.to_owned())
            }
            Err(_) => (0, RemoteState::default(), String::new()),
        };
        let state = classify(code, &remote);
        let offset = match state {
            PatchState::Succeeded => end,
            PatchState::RangeMismatch => {
                server_range.split_once('-').and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
            }
            _ => start,
        };
        if state != PatchState::Succeeded {
            let message = format!("Appending trace to coordinator... {state:?}");
            runner_log::log(
                Level::Warning,
                message,
                &[("code", &code), ("job", &job.id), ("sent-log", &range)],
            );
        }
        PatchAnswer { state, offset, cancel: remote.is_canceling(), interval: remote.interval }
    }
}

/// Only 202 is success; a plain 200 is not.
fn classify(code: u16, remote: &RemoteState) -> PatchState {
    match code {
        _ if remote.is_failed(code) => PatchState::Abort,
        202 => PatchState::Succeeded,
        404 => PatchState::NotFound,
        416 => PatchState::RangeMismatch,
        _ => PatchState::Failed,
    }
}
