//! The steps of a plan, and how they read.

use std::fmt;

use meta_core::name::InstanceName;
use meta_gitlab::runners::RunnerChange;

use super::difference::FieldChange;
use crate::desired::DesiredRunner;

/// One step, with everything that it needs. `Display` is its line in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) instance: InstanceName,
    pub(crate) step: Step,
}

/// What is done for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is none yet.
    Create(DesiredRunner),
    /// There was one, and it cannot be used any more.
    Recreate { old: u64, reason: RecreateReason, runner: DesiredRunner },
    /// There is one with our mark and its token is not on disk: reset the token and keep it.
    Adopt { id: u64 },
    /// Its token is of no use, or not for long.
    ResetToken { id: u64, reason: ResetReason },
    /// It differs.
    Update { id: u64, change: RunnerChange, fields: Vec<FieldChange> },
    /// It does not serve this project yet.
    Assign { id: u64, project: u64 },
    /// Nobody asks for it any more, or it is one too many. GitLab deletes only a runner of a single project, so a runner of
    /// several leaves them first. It does not say which one owns the runner: that one refuses.
    Delete { id: u64, leave: Vec<u64> },
    /// Drop our record without touching GitLab.
    Forget { id: u64, reason: ForgetReason },
}

/// Why a stored runner is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecreateReason {
    /// GitLab says that there is none with its id.
    Gone,
    /// GitLab refuses its token, and without our mark we may not reset it.
    TokenRefused,
    /// It belongs to a project or group that the configuration does not name. It is deleted first.
    Elsewhere,
    /// As [`Self::Elsewhere`], but others use it, or it lacks our mark: it stays.
    ElsewhereAndStays,
}

/// Why a token is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResetReason {
    /// GitLab refuses it.
    Refused,
    /// It expires at this time.
    Expires(String),
}

/// Why a record is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForgetReason {
    Gone,
    NotOurs,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = &self.instance;
        match &self.step {
            Step::Create(runner) => write!(f, "create {instance}: {runner}"),
            Step::Recreate { old, reason, runner } => {
                write!(f, "recreate {instance}: {runner}; runner {old} {reason}")
            }
            Step::Adopt { id } => write!(f, "adopt {instance}: runner {id}, with a new token"),
            Step::ResetToken { id, reason } => write!(f, "reset token {instance}: runner {id}, {reason}"),
            Step::Update { id, fields, .. } => {
                write!(f, "update {instance}: runner {id}, {}", list(fields))
            }
            Step::Assign { id, project } => write!(f, "assign {instance}: runner {id} to project {project}"),
            Step::Delete { id, leave } if leave.is_empty() => write!(f, "delete {instance}: runner {id}"),
            Step::Delete { id, leave } => {
                write!(f, "delete {instance}: runner {id} of {}", projects(leave))
            }
            Step::Forget { id, reason } => write!(f, "forget {instance}: runner {id} {reason}"),
        }
    }
}

impl fmt::Display for DesiredRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runner = &self.runner;
        write!(f, "tags [{}]", runner.tags.join(", "))?;
        for (name, set) in [("run_untagged", runner.run_untagged), ("protected", runner.protected)] {
            if set {
                write!(f, ", {name}")?;
            }
        }
        runner.maximum_timeout_s.map_or(Ok(()), |seconds| write!(f, ", maximum_timeout {seconds}"))
    }
}

impl fmt::Display for RecreateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "is gone",
            Self::TokenRefused => "does not carry our mark and stays, but its token is refused",
            Self::Elsewhere => "belongs to another project or group and is deleted first",
            Self::ElsewhereAndStays => "belongs to another project or group and stays",
        })
    }
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("whose token is refused"),
            Self::Expires(time) => write!(f, "whose token expires at {time}"),
        }
    }
}

impl fmt::Display for ForgetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "is gone",
            Self::NotOurs => "does not carry our mark and stays",
        })
    }
}

/// The changes, for people.
pub(super) fn list(fields: &[FieldChange]) -> String {
    fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `project 3` or `projects 3, 4`.
pub(super) fn projects(ids: &[u64]) -> String {
    let all: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("project{} {}", if ids.len() == 1 { "" } else { "s" }, all.join(", "))
}
