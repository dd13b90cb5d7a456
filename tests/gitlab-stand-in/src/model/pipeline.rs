//! Pipelines.

use crate::clock::Time;
use crate::model::Status;
use crate::pipeline::Variable;

/// The commit that a pipeline runs on.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) before_sha: String,
    pub(crate) message: String,
    pub(crate) author_name: String,
    pub(crate) author_email: String,
    /// RFC 3339, as git prints it.
    pub(crate) authored_at: String,
}

impl Commit {
    /// A commit for jobs without a repository.
    pub(crate) fn made_up(time: Time) -> Self {
        Self {
            sha: "4f1c2d3e4f5061728394a5b6c7d8e9f001122334".to_owned(),
            before_sha: "0".repeat(40),
            message: "Made up by the stand-in".to_owned(),
            author_name: "Stand In".to_owned(),
            author_email: "stand-in@example.org".to_owned(),
            authored_at: crate::clock::iso(time),
        }
    }

    pub(crate) fn short_sha(&self) -> &str {
        self.sha.get(..8).unwrap_or(&self.sha)
    }

    pub(crate) fn title(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// A pipeline; its jobs are found by their `pipeline_id`.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) id: i64,
    pub(crate) iid: i64,
    pub(crate) project_id: i64,
    pub(crate) user_id: i64,
    /// Branch or tag name.
    pub(crate) reference: String,
    pub(crate) tag: bool,
    pub(crate) commit: Commit,
    pub(crate) source: String,
    pub(crate) status: Status,
    pub(crate) stages: Vec<String>,
    /// Variables given when the pipeline was started.
    pub(crate) variables: Vec<Variable>,
    /// Whether there is a repository to fetch from.
    pub(crate) has_repository: bool,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) started_at: Option<Time>,
    pub(crate) finished_at: Option<Time>,
}
