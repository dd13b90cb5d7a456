//! What an administrator of the played server can change.

use serde::{Deserialize, Serialize};

/// Limits and switches; a zero limit is off. The control API replaces single fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// All API calls of one user per minute, answered with the plain-text throttle.
    pub(crate) requests_per_minute: u64,
    /// `GET /projects/:id/jobs` per user and minute (`project_jobs_api_rate_limit`).
    pub(crate) project_jobs_per_minute: u64,
    /// `GET /projects/:id` per user and minute.
    pub(crate) project_per_minute: u64,
    /// `POST /jobs/request` per runner token and minute.
    pub(crate) job_requests_per_minute: u64,
    /// `PATCH /jobs/:id/trace` per job token and minute.
    pub(crate) trace_per_minute: u64,
    /// Other job-token calls per job token and minute.
    pub(crate) job_calls_per_minute: u64,
    /// Runner records per project or group (plan limit).
    pub(crate) runners_per_owner: usize,
    /// Whether `POST /user/runners` may make project and group runners.
    pub(crate) runner_registration: bool,
    /// Bytes of an artifact upload, else 413.
    pub(crate) max_artifact_size: usize,
    /// Bytes of a log, else the job fails with `trace_size_exceeded`.
    pub(crate) max_trace_size: usize,
    /// Seconds for `X-GitLab-Trace-Update-Interval`.
    pub(crate) trace_update_interval: u64,
    /// Days until the token of a new runner expires.
    pub(crate) runner_token_lifetime_days: Option<i64>,
    /// Registry that jobs get credentials for: host and port.
    pub(crate) registry: Option<String>,
    /// Seconds that `POST /jobs/request` is held when nothing is new, as Workhorse can.
    pub(crate) long_poll: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests_per_minute: 0,
            project_jobs_per_minute: 600,
            project_per_minute: 400,
            job_requests_per_minute: 2000,
            trace_per_minute: 200,
            job_calls_per_minute: 200,
            runners_per_owner: 1000,
            runner_registration: true,
            max_artifact_size: 100 << 20,
            max_trace_size: 100 << 20,
            trace_update_interval: 60,
            runner_token_lifetime_days: None,
            registry: None,
            long_poll: 0,
        }
    }
}
