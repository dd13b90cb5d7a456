//! The ledger: what was launched and what became of it (`NAME.launches.json`; contracts, section 1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::InstanceName;

mod launch;
mod totals;
mod trouble;

pub use launch::{Launch, State, Surplus};
pub use totals::{InstanceTotals, Totals};
pub use trouble::Trouble;

/// Seconds for which a launch that did its work stays in the ledger, for `status`.
const KEEP_DONE_S: u64 = 3600;

/// Seconds for which other closed launches stay: their number decides when to try again. GitLab drops a pending job
/// after as long, so nothing older can matter to a job.
const KEEP_FAILED_S: u64 = 24 * 3600;

const VERSION: u32 = 1;

/// Everything the launcher remembers from tick to tick. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In the order of submission.
    pub launches: Vec<Launch>,
    /// When each instance was last kept online.
    pub keep_alive: BTreeMap<String, u64>,
    /// Jobs whose end by GitLab's limit was announced, and when.
    pub warned: BTreeMap<u64, u64>,
    /// The projects whose jobs are asked for, as they were when they were last listed.
    pub scope: Option<KnownScope>,
    /// When a renewal of runner tokens was tried last; 0: never.
    pub renewal_tried: u64,
    /// What GitLab last said of the runners of instances.
    pub runners: BTreeMap<String, KnownRunner>,
    /// By instance, the digest of a token that GitLab refuses.
    pub refused_tokens: BTreeMap<String, String>,
    /// What is or was wrong, by what it is about.
    pub troubles: BTreeMap<String, Trouble>,
    /// What was counted.
    pub totals: Totals,
}

/// A runner, as GitLab showed it. Kept for a while, like [`KnownScope`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRunner {
    /// GitLab's id.
    pub id: u64,
    /// When it was asked for.
    pub asked: u64,
    /// Whether somebody paused it.
    pub paused: bool,
}

/// Whose jobs are asked for. Kept for a while, since it costs requests and changes seldom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownScope {
    /// What it was made from: another configuration makes it worthless.
    pub of: String,
    /// When it was asked for.
    pub listed: u64,
    /// Each one, by ascending id.
    pub projects: Vec<KnownProject>,
    /// Those of the configuration that GitLab does not show, by their paths, and what it says instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProject {
    /// GitLab's id.
    pub id: u64,
    /// With its groups.
    pub path: String,
    /// Names and patterns of its protected refs; absent where nobody asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<ProtectedRefs>,
    /// Whether CI/CD is switched off there, so that nobody may ask for its jobs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_ci: bool,
}

/// Which refs of a project are protected. `*` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedRefs {
    /// Branches.
    pub branches: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
}

impl Ledger {
    /// Reads the text of a ledger file.
    ///
    /// # Errors
    /// Anything but a ledger of this version: guessing at its content could launch everything twice.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        let header: Header = serde_json::from_str(text).map_err(LedgerError::Syntax)?;
        if header.version != VERSION {
            return Err(LedgerError::Version(header.version));
        }
        let file: FileIn = serde_json::from_str(text).map_err(LedgerError::Syntax)?;
        Ok(Self {
            launches: file.launches,
            keep_alive: file.keep_alive,
            warned: file.warned,
            scope: file.scope,
            renewal_tried: file.renewal_tried,
            runners: file.runners,
            refused_tokens: file.refused_tokens,
            troubles: file.troubles,
            totals: file.totals,
        })
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let file = FileOut {
            version: VERSION,
            keep_alive: &self.keep_alive,
            warned: &self.warned,
            scope: self.scope.as_ref(),
            renewal_tried: self.renewal_tried,
            runners: &self.runners,
            refused_tokens: &self.refused_tokens,
            troubles: &self.troubles,
            totals: &self.totals,
            launches: &self.launches,
        };
        let mut text =
            serde_json::to_string_pretty(&file).expect("a ledger has text keys and plain values only");
        text.push('\n');
        text
    }

    /// Drops closed launches that nothing depends on any more. An instance's permanent refusal stays while it is the
    /// latest thing that happened to it, since it stops the instance.
    pub fn prune(&mut self, now: u64) {
        let latest: BTreeMap<InstanceName, String> =
            self.launches.iter().map(|launch| (launch.instance.clone(), launch.id.clone())).collect();
        self.launches.retain(|launch| {
            let age = now.saturating_sub(launch.changed);
            match launch.state {
                state if state.is_live() => true,
                State::Done if launch.lost_at.is_empty() => age < KEEP_DONE_S,
                _ => {
                    let stops = launch.refused_config.is_some();
                    age < KEEP_FAILED_S || (stops && latest.get(&launch.instance) == Some(&launch.id))
                }
            }
        });
        // A job does not wait longer than that, and an instance that is gone is not asked for.
        self.warned.retain(|_, at| now.saturating_sub(*at) < KEEP_FAILED_S);
        self.keep_alive.retain(|_, at| now.saturating_sub(*at) < KEEP_FAILED_S);
        self.runners.retain(|_, runner| now.saturating_sub(runner.asked) < KEEP_FAILED_S);
        self.troubles.retain(|_, trouble| now.saturating_sub(trouble.told) < KEEP_FAILED_S);
    }

    /// Takes what it says of times after `now` as of `now`. Another login node's clock may be fast, or this one was put
    /// back: what then seems to have just happened would else not be done again before that time has come.
    pub fn end_at(&mut self, now: u64) {
        let lists = [self.keep_alive.values_mut().collect::<Vec<_>>(), self.warned.values_mut().collect()];
        let times = lists.into_iter().flatten().chain([&mut self.renewal_tried]);
        let times = times.chain(self.runners.values_mut().map(|runner| &mut runner.asked));
        let times = times.chain(self.scope.iter_mut().map(|scope| &mut scope.listed));
        let times = times.chain(self.launches.iter_mut().flat_map(Launch::times));
        for time in times.chain(self.troubles.values_mut().flat_map(Trouble::times)) {
            *time = now.min(*time);
        }
    }
}

/// Why a text is not a ledger.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// Not JSON, or not of this shape.
    #[error("it is not a list of launches")]
    Syntax(#[source] serde_json::Error),
    /// Written by another version of the launcher.
    #[error("it has version {0}, and this launcher reads version {VERSION}")]
    Version(u32),
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct FileIn {
    #[serde(default)]
    keep_alive: BTreeMap<String, u64>,
    #[serde(default)]
    warned: BTreeMap<u64, u64>,
    #[serde(default)]
    scope: Option<KnownScope>,
    #[serde(default)]
    renewal_tried: u64,
    #[serde(default)]
    runners: BTreeMap<String, KnownRunner>,
    #[serde(default)]
    refused_tokens: BTreeMap<String, String>,
    #[serde(default)]
    troubles: BTreeMap<String, Trouble>,
    #[serde(default)]
    totals: Totals,
    launches: Vec<Launch>,
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    keep_alive: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    warned: &'a BTreeMap<u64, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a KnownScope>,
    #[serde(skip_serializing_if = "is_never")]
    renewal_tried: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    runners: &'a BTreeMap<String, KnownRunner>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused_tokens: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    troubles: &'a BTreeMap<String, Trouble>,
    #[serde(skip_serializing_if = "Totals::is_empty")]
    totals: &'a Totals,
    launches: &'a [Launch],
}

fn is_never(time: &u64) -> bool {
    *time == 0
}

#[cfg(test)]
mod tests;
