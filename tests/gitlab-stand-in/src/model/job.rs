//! Jobs and their states.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{Time, seconds};
use crate::model::State;
use crate::pipeline::{JobSpec, Variable};

/// Seconds that a handed-out job may stay unconfirmed.
const CLAIM_LIFE: i64 = 120;

/// The states of a job; pipelines use a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Created,
    Preparing,
    WaitingForResource,
    WaitingForCallback,
    Pending,
    Running,
    Success,
    Failed,
    Canceled,
    Canceling,
    Skipped,
    Manual,
    Scheduled,
}

impl Status {
    /// All of them, in the order of the API documentation.
    pub(crate) const ALL: [Self; 13] = [
        Self::Canceled,
        Self::Canceling,
        Self::Created,
        Self::Failed,
        Self::Manual,
        Self::Pending,
        Self::Preparing,
        Self::Running,
        Self::Scheduled,
        Self::Skipped,
        Self::Success,
        Self::WaitingForCallback,
        Self::WaitingForResource,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Preparing => "preparing",
            Self::WaitingForResource => "waiting_for_resource",
            Self::WaitingForCallback => "waiting_for_callback",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Canceling => "canceling",
            Self::Skipped => "skipped",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == text)
    }

    /// Nothing will happen to the job any more.
    pub(crate) fn is_complete(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled | Self::Skipped)
    }

    /// The job still waits or runs.
    pub(crate) fn is_alive(self) -> bool {
        !self.is_complete() && self != Self::Manual
    }
}

/// An uploaded artifact.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    pub(crate) filename: String,
    /// `archive`, `junit`, `dotenv`...
    pub(crate) kind: String,
    /// `zip`, `gzip` or `raw`.
    pub(crate) format: String,
    pub(crate) expire_in: Option<String>,
    pub(crate) content: Arc<[u8]>,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) project_id: i64,
    pub(crate) pipeline_id: i64,
    pub(crate) user_id: i64,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) protected: bool,
    pub(crate) token: String,
    pub(crate) status: Status,
    pub(crate) failure_reason: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) runner_id: Option<i64>,
    pub(crate) system_id: Option<String>,
    /// When the unconfirmed claim of a handed-out job ends.
    pub(crate) claim_ends: Option<Time>,
    /// The runner's `info.features` at hand-out.
    pub(crate) features: Vec<String>,
    /// Replaced by a newer job of the same name.
    pub(crate) retried: bool,
    /// How many jobs came before it by automatic retry.
    pub(crate) retry_count: u64,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) queued_at: Option<Time>,
    pub(crate) started_at: Option<Time>,
    pub(crate) finished_at: Option<Time>,
    pub(crate) erased_at: Option<Time>,
    pub(crate) trace: Vec<u8>,
    /// `crc32:` and eight hex digits, as the runner said in its last report.
    pub(crate) reported_checksum: Option<String>,
    pub(crate) artifacts: Vec<Artifact>,
    /// Variables of its dotenv report, for the jobs that depend on it.
    pub(crate) dotenv: Vec<Variable>,
}

impl Job {
    /// Handed to a runner that has not confirmed it yet: pending, with a runner.
    pub(crate) fn is_claimed(&self) -> bool {
        self.status == Status::Pending && self.runner_id.is_some()
    }

    /// A runner works on it, so its token is good.
    pub(crate) fn is_processing(&self) -> bool {
        matches!(self.status, Status::Running | Status::Canceling) || self.is_claimed()
    }

    /// Starts the two minutes of an unconfirmed claim, or starts them anew.
    pub(crate) fn extend_claim(&mut self, now: Time) {
        self.claim_ends = Some(now + seconds(CLAIM_LIFE));
    }

    /// The archive among the artifacts.
    pub(crate) fn archive(&self) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.kind == "archive")
    }

    /// Whether its failure does not fail the pipeline.
    pub(crate) fn failure_is_allowed(&self) -> bool {
        self.spec.allow_failure.covers(self.exit_code)
    }

    pub(crate) fn announced(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }
}

impl State {
    /// The job that holds `token`.
    pub(crate) fn job_by_token(&self, token: &str) -> Option<&Job> {
        self.jobs.values().find(|job| job.token == token)
    }
}
