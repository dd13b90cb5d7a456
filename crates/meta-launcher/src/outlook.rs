//! How an instance stands after a plan, and why.

use std::fmt;

use crate::facts::Obstacle;
use crate::job_names::job_names;
use crate::supply::Supply;

/// One instance in numbers and reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Jobs that wait and that it fits best.
    pub waiting: u64,
    /// Seconds for which the oldest of them has been waiting.
    pub oldest_waiting_s: u64,
    /// Jobs that its runner has.
    pub active: u64,
    /// What its launches can still take.
    pub supply: Supply,
    /// Launches that wait in the batch system, or may do so; each element of an array counts.
    pub queued: u32,
    /// Launches that run.
    pub running: u32,
    /// Launches that the plan asks for.
    pub launching: u32,
    /// Submissions of the last day that were lost or refused.
    pub failed: u64,
    /// Why the latest of them came to nothing.
    pub latest_failure: Option<String>,
    /// What holds it back.
    pub notes: Vec<Note>,
}

impl Outlook {
    /// Its launches that wait, run, or may do so.
    pub fn live(&self) -> u32 {
        self.queued + self.running
    }
}

/// Why fewer launches are asked for than jobs wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// There is no runner in GitLab that could take the jobs.
    NotRegistered,
    /// A launch would be in vain.
    Obstacle(Obstacle),
    /// The queue could not be read.
    BatchUnknown,
    /// The batch system refuses submissions.
    Refused {
        /// Seconds until the next try; absent if only another configuration can help.
        in_s: Option<u64>,
        /// In its own words.
        reason: String,
    },
    /// `max_launches` is reached.
    MaxLaunches {
        /// The limit.
        limit: u32,
        /// Jobs that are left.
        left: u64,
    },
    /// `max_in_flight` is reached.
    MaxInFlight {
        /// The limit.
        limit: u32,
        /// Jobs that are left.
        left: u64,
    },
    /// `max_per_project` is reached.
    MaxPerProject {
        /// The limit.
        limit: u32,
        /// Jobs that are left.
        left: u64,
    },
    /// Launches for these jobs were lost; the next ones come later.
    LaterAgain {
        /// GitLab's ids, not empty.
        jobs: Vec<u64>,
        /// Seconds until the first of them.
        in_s: u64,
    },
    /// The launches for these jobs were lost too often.
    GivenUp {
        /// GitLab's ids, not empty.
        jobs: Vec<u64>,
        /// How many were lost for each of them, at least.
        launches: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegistered => f.write_str("not registered: run `meta-register`"),
            Self::Obstacle(Obstacle::Paused) => {
                f.write_str("its runner is paused in GitLab: nothing is launched until somebody resumes it")
            }
            Self::Obstacle(Obstacle::TokenRefused) => {
                f.write_str("GitLab refuses the token of its runner: run `gitlab-meta-runner configure`")
            }
            Self::Obstacle(Obstacle::NoCommand) => {
                f.write_str("its `[launch]` cannot be expanded: `gitlab-meta-runner check-config` says why")
            }
            Self::BatchUnknown => f.write_str("nothing is launched while the queue cannot be read"),
            Self::Refused { in_s: Some(in_s), reason } => {
                write!(f, "the submission was refused, next try in {in_s} s: {reason}")
            }
            Self::Refused { in_s: None, reason } => {
                write!(
                    f,
                    "the submission was refused for good, nothing is tried before the configuration changes: {reason}"
                )
            }
            Self::MaxLaunches { limit, left } => {
                write!(f, "more waiting jobs ({left}) than `max_launches` = {limit} lets through")
            }
            Self::MaxInFlight { limit, left } => {
                write!(f, "more waiting jobs ({left}) than `max_in_flight` = {limit} lets through")
            }
            Self::MaxPerProject { limit, left } => {
                write!(f, "more waiting jobs ({left}) than `max_per_project` = {limit} lets through")
            }
            Self::LaterAgain { jobs, in_s } => {
                write!(f, "the launch for {} was lost, next try in {in_s} s", job_names(jobs))
            }
            Self::GivenUp { jobs, launches } => {
                let (names, them) = (job_names(jobs), if jobs.len() == 1 { "is" } else { "are" });
                write!(
                    f,
                    "{names} {them} given up after {launches} lost launches: retry in GitLab once they work"
                )
            }
        }
    }
}
