//! The ledger: what was launched and what became of it (`NAME.launches.json`; contracts, section 1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::InstanceName;

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
    /// Jobs that still waited when elements that were made for them had ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<u64>,
    /// When nobody was first seen to need it while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surplus_since: Option<u64>,
    /// Fingerprint of the configuration that would be refused again; only where the refusal is permanent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_config: Option<String>,
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

    /// Elements that wait, run, or may do so.
    pub fn live_elements(&self) -> u32 {
        self.waiting_elements() + self.running_elements()
    }
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
                State::Done => age < KEEP_DONE_S,
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
    launches: &'a [Launch],
}

fn is_never(time: &u64) -> bool {
    *time == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{
      "version": 1,
      "launches": [
        { "id": "6924f1c05e9a41", "instance": "big-node", "elements": 1, "slots": 1, "batch_id": "1234",
          "submitted": 1790000000, "changed": 1790000000, "state": "queued", "reason": null, "jobs": [4711] }
      ]
    }"#;

    fn example() -> Launch {
        Ledger::parse(EXAMPLE).unwrap().launches.remove(0)
    }

    #[test]
    fn the_contract_s_example_is_read_and_comes_back() {
        let launch = example();
        assert_eq!(
            (launch.instance.as_str(), launch.state, launch.jobs.as_slice()),
            ("big-node", State::Queued, &[4711][..])
        );
        let mut ledger = Ledger { launches: vec![launch], ..Ledger::default() };
        assert_eq!(Ledger::parse(&ledger.render()).unwrap(), ledger);
        ledger.keep_alive.insert("big-node".to_owned(), 5);
        ledger.warned.insert(4711, 6);
        ledger.renewal_tried = 7;
        ledger.runners.insert("big-node".to_owned(), KnownRunner { id: 5, asked: 8, paused: true });
        ledger.refused_tokens.insert("big-node".to_owned(), "c0ffee".to_owned());
        let project = KnownProject {
            id: 1,
            path: "g/p".to_owned(),
            protected: Some(ProtectedRefs::default()),
            without_ci: true,
        };
        ledger.scope = Some(KnownScope { of: "group g".to_owned(), listed: 7, projects: vec![project] });
        let launch = &mut ledger.launches[0];
        (launch.waiting, launch.runs, launch.lost) = (Some(1), vec![8, 9], vec![4711]);
        launch.refused_config = Some("c0ffee".to_owned());
        assert_eq!(Ledger::parse(&ledger.render()).unwrap(), ledger);
    }

    #[test]
    fn what_is_not_a_ledger_is_refused() {
        let error = |text: &str| Ledger::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "it is not a list of launches");
        assert_eq!(error(&EXAMPLE[..200]), "it is not a list of launches");
        assert_eq!(error(&EXAMPLE.replace("queued", "asleep")), "it is not a list of launches");
        assert_eq!(error(&EXAMPLE.replace("big-node", "../x")), "it is not a list of launches");
        assert_eq!(error(r#"{"version": 2}"#), "it has version 2, and this launcher reads version 1");
    }

    #[test]
    fn pruning_keeps_what_may_matter() {
        let kept = |state, age: u64, refused_config: Option<&str>| {
            let launch = Launch {
                state,
                changed: 1000,
                refused_config: refused_config.map(str::to_owned),
                ..example()
            };
            let mut ledger = Ledger { launches: vec![launch], ..Ledger::default() };
            ledger.prune(1000 + age);
            !ledger.launches.is_empty()
        };
        let year = 365 * 24 * 3600;
        for state in [State::Submitting, State::Queued, State::Running, State::Unknown] {
            assert!(kept(state, year, None), "{state:?}");
        }
        assert!(kept(State::Done, 3599, None) && !kept(State::Done, 3600, None));
        assert!(kept(State::Lost, 24 * 3600 - 1, None) && !kept(State::Lost, 24 * 3600, None));
        assert!(kept(State::Failed, year, Some("c0ffee")) && !kept(State::Failed, year, None));
        // A refusal stops its instance no longer once something else has happened to it.
        let refused = Launch {
            id: "old".to_owned(),
            state: State::Failed,
            refused_config: Some("c0ffee".to_owned()),
            changed: 0,
            ..example()
        };
        let mut ledger = Ledger { launches: vec![refused, example()], ..Ledger::default() };
        ledger.prune(year);
        assert_eq!(ledger.launches, [example()]);
    }
}
