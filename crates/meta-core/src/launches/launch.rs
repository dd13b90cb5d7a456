//! One launch, as the ledger has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::InstanceName;

/// One submission of the launch command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Reaches the batch job before the submission, so that it can be found there.
    pub id: String,
    /// Whose launch command was used.
    #[serde(with = "instance_name")]
    pub instance: InstanceName,
    /// Array tasks; 1 without an array.
    pub elements: u32,
    /// Jobs that each element is good for.
    pub slots: u32,
    /// The batch system's name for it, once it is known.
    pub batch_id: Option<String>,
    /// When the submission began.
    pub submitted: u64,
    /// When `state` was last changed.
    pub changed: u64,
    /// What is known about it.
    pub state: State,
    /// Why it is in this state, in the batch system's words where it has any.
    pub reason: Option<String>,
    /// The pending jobs that made the plan ask for it.
    pub jobs: Vec<u64>,
    /// Elements that still wait; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// When each of the elements that run began, by the batch system's count. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<u64>,
    /// Jobs that still waited when elements that were made for them had ended, and when that was seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_at: BTreeMap<u64, u64>,
    /// What of it nobody was seen to need while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surplus: Option<Surplus>,
    /// Fingerprint of the configuration that would be refused again; only where the refusal is permanent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_config: Option<String>,
}

/// Elements that wait in vain, as a look showed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surplus {
    /// When that was.
    pub since: u64,
    /// How many.
    pub elements: u32,
}

/// What is known about a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Written down, and not known to be submitted.
    Submitting,
    /// Waits in the batch system.
    Queued,
    /// Runs on a node.
    Running,
    /// The answer to the submission was lost.
    Unknown,
    /// Gone, and its work is done.
    Done,
    /// Gone, and its jobs still wait.
    Lost,
    /// The submission was refused.
    Failed,
    /// Cancelled by us.
    Cancelled,
}

impl State {
    /// Whether the launch may still take jobs.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Submitting | Self::Queued | Self::Running | Self::Unknown)
    }

    /// The word that the file has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitting => "submitting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Launch {
    /// Elements that wait or may do so.
    pub fn waiting_elements(&self) -> u32 {
        match self.state {
            State::Submitting | State::Unknown => self.elements,
            State::Queued => self.waiting.unwrap_or(self.elements),
            _ => 0,
        }
    }

    /// Elements that run.
    pub fn running_elements(&self) -> u32 {
        match self.state {
            State::Queued => self.runs.len() as u32,
            // An element whose start nobody told of runs all the same.
            State::Running => (self.runs.len() as u32).max(1),
            _ => 0,
        }
    }

    /// Every time that it has.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut u64> {
        let single = [&mut self.submitted, &mut self.changed].into_iter();
        let surplus = self.surplus.iter_mut().map(|surplus| &mut surplus.since);
        single.chain(&mut self.runs).chain(self.lost_at.values_mut()).chain(surplus)
    }

    /// Elements that wait, run, or may do so.
    pub fn live_elements(&self) -> u32 {
        self.waiting_elements() + self.running_elements()
    }
}

mod instance_name {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::name::InstanceName;

    pub(super) fn serialize<S: Serializer>(name: &InstanceName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InstanceName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
