//! What was counted since there is a ledger, for figures that only grow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of everything since the ledger was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests to GitLab; counted where there is a file of figures.
    #[serde(default)]
    pub gitlab_requests: u64,
    /// By instance, also of those that are gone.
    #[serde(default)]
    pub instances: BTreeMap<String, InstanceTotals>,
}

/// Counts of one instance's launches; each element of an array counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceTotals {
    /// Submitted, or tried to be.
    pub launches: u64,
    /// Refused by the batch system.
    pub refused: u64,
    /// Taken out of the queue by us.
    pub cancelled: u64,
    /// Jobs that still waited when a launch for them had ended.
    pub lost: u64,
}

impl Totals {
    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The counts of one instance.
    pub fn of(&mut self, instance: &str) -> &mut InstanceTotals {
        self.instances.entry(instance.to_owned()).or_default()
    }
}
