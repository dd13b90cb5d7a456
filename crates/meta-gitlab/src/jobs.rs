//! Jobs that wait or run.

use serde::Deserialize;

use crate::ApiError;
use crate::client::Client;

/// A job of the list, as far as we care. GitLab tells neither image nor variables nor whether its ref is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: u64,
    pub status: JobStatus,
    pub tags: Vec<String>,
    /// Branch, tag or `refs/merge-requests/N/head`.
    pub git_ref: String,
    /// Whether `git_ref` is a tag.
    pub is_tag: bool,
    /// Whole seconds that the job has been pending, up to now for a pending job.
    pub queued_s: Option<u64>,
    /// The runner that GitLab has handed the job to. A job may have one and still be pending for up to two minutes,
    /// until the runner confirms it.
    pub runner_id: Option<u64>,
}

/// The two states that a launcher asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    Pending,
    Running,
}

/// Jobs of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobList {
    /// By ascending id, so the oldest come first.
    pub jobs: Vec<Job>,
    /// Whether the list was left before its end.
    pub more: bool,
}

#[derive(Deserialize)]
struct WireJob {
    id: u64,
    status: String,
    #[serde(default)]
    tag_list: Vec<String>,
    #[serde(rename = "ref")]
    git_ref: String,
    #[serde(default)]
    tag: bool,
    queued_duration: Option<f64>,
    runner: Option<WireRunner>,
}

#[derive(Deserialize)]
struct WireRunner {
    id: u64,
}

impl Client {
    /// `GET /projects/:id/jobs`: pending and running jobs, oldest first, until `enough` says so of those of the pages so
    /// far. Pages of 100 by keyset, which is cheap for GitLab and does not skip jobs when others end meanwhile.
    pub fn open_jobs(
        &self,
        project_id: u64,
        mut enough: impl FnMut(&[Job]) -> bool,
    ) -> Result<JobList, ApiError> {
        let path = format!(
            "/projects/{project_id}/jobs?scope[]=pending&scope[]=running&pagination=keyset&order_by=id&sort=asc"
        );
        let mut jobs: Vec<Job> = Vec::new();
        let mut read = 0;
        let (wire, more) = self.get_pages::<WireJob>(&path, "read_api", |wire| {
            jobs.extend(wire[read..].iter().filter_map(Job::from_wire));
            read = wire.len();
            enough(&jobs)
        })?;
        jobs.extend(wire[read..].iter().filter_map(Job::from_wire));
        Ok(JobList { jobs, more })
    }
}

impl Job {
    /// None if the job has left both states while the list was made.
    fn from_wire(wire: &WireJob) -> Option<Self> {
        Some(Self {
            id: wire.id,
            status: match wire.status.as_str() {
                "pending" => JobStatus::Pending,
                "running" => JobStatus::Running,
                _ => return None,
            },
            tags: wire.tag_list.clone(),
            git_ref: wire.git_ref.clone(),
            is_tag: wire.tag,
            queued_s: wire.queued_duration.map(|seconds| seconds.max(0.0) as u64),
            runner_id: wire.runner.as_ref().map(|runner| runner.id),
        })
    }
}
