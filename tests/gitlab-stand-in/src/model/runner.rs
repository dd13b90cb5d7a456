//! Runners, their managers, and what counts as being online.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Time, seconds};
use crate::model::State;

/// Contact within this many seconds makes a runner online.
const ONLINE: i64 = 2 * 3600;
/// Older than this it is stale.
const STALE: i64 = 7 * 24 * 3600;
/// GitLab writes the contact time to the database every 40 to 55 minutes; the stand-in takes the worst case.
const STORED_CONTACT_EVERY: i64 = 55 * 60;
/// How long a queue value (`last_update`) lives.
const QUEUE_VALUE_LIFE: i64 = 3600;
/// Only runners seen within this time get a new queue value when a job comes.
const RECENT_QUEUE: i64 = 3 * 3600;

/// Who may use a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RunnerType {
    #[serde(rename = "instance_type")]
    Instance,
    #[serde(rename = "group_type")]
    Group,
    #[serde(rename = "project_type")]
    Project,
}

impl RunnerType {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "instance_type" => Some(Self::Instance),
            "group_type" => Some(Self::Group),
            "project_type" => Some(Self::Project),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance_type",
            Self::Group => "group_type",
            Self::Project => "project_type",
        }
    }

    /// What follows `glrt-` in this kind's tokens.
    pub(crate) fn token_prefix(self) -> &'static str {
        match self {
            Self::Instance => "glrt-t1_",
            Self::Group => "glrt-t2_",
            Self::Project => "glrt-t3_",
        }
    }
}

/// The four states of a runner or manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunnerStatus {
    Online,
    Offline,
    Stale,
    NeverContacted,
}

impl RunnerStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Stale => "stale",
            Self::NeverContacted => "never_contacted",
        }
    }

    /// The state at `now` of something made at `created` and last seen at `contacted`.
    pub(crate) fn at(now: Time, created: Time, contacted: Option<Time>) -> Self {
        let stale_before = now - seconds(STALE);
        match contacted {
            Some(at) if at > now - seconds(ONLINE) => Self::Online,
            Some(at) if at <= stale_before && created <= stale_before => Self::Stale,
            Some(_) => Self::Offline,
            None if created <= stale_before => Self::Stale,
            None => Self::NeverContacted,
        }
    }
}

/// One machine behind a runner token, keyed by its `system_id`.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    pub(crate) id: i64,
    pub(crate) system_id: String,
    pub(crate) created_at: Time,
    pub(crate) contacted_at: Option<Time>,
    /// The `info` object of the last call that carried one.
    pub(crate) info: serde_json::Value,
}

/// A runner record: one token, one configuration, any number of managers.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) id: i64,
    pub(crate) kind: RunnerType,
    pub(crate) token: String,
    pub(crate) token_expires_at: Option<Time>,
    pub(crate) rotation_deadline: Option<Time>,
    pub(crate) description: String,
    pub(crate) maintenance_note: String,
    pub(crate) tags: Vec<String>,
    pub(crate) run_untagged: bool,
    pub(crate) locked: bool,
    pub(crate) paused: bool,
    pub(crate) protected_only: bool,
    pub(crate) maximum_timeout: Option<i64>,
    /// The owning group of a group runner.
    pub(crate) group_id: Option<i64>,
    /// The projects of a project runner, the owner first.
    pub(crate) project_ids: Vec<i64>,
    pub(crate) creator_id: i64,
    pub(crate) created_at: Time,
    /// The last contact as GitLab's cache knows it: what the API shows.
    pub(crate) contacted_at: Option<Time>,
    /// The last contact as the database knows it: what decides whether a job is stuck.
    pub(crate) stored_contact: Option<Time>,
    pub(crate) managers: BTreeMap<String, Manager>,
    pub(crate) queue_value: Option<(String, Time)>,
}

impl Runner {
    /// A runner with GitLab's defaults, never contacted.
    pub(crate) fn new(id: i64, kind: RunnerType, token: String, created_at: Time) -> Self {
        Self {
            id,
            kind,
            token,
            token_expires_at: None,
            rotation_deadline: None,
            description: String::new(),
            maintenance_note: String::new(),
            tags: Vec::new(),
            run_untagged: true,
            locked: false,
            paused: false,
            protected_only: false,
            maximum_timeout: None,
            group_id: None,
            project_ids: Vec::new(),
            creator_id: 0,
            created_at,
            contacted_at: None,
            stored_contact: None,
            managers: BTreeMap::new(),
            queue_value: None,
        }
    }

    /// Registered by the API and not with a registration token.
    pub(crate) fn created_by_api(&self) -> bool {
        self.token.starts_with("glrt-")
    }

    pub(crate) fn status(&self, now: Time) -> RunnerStatus {
        RunnerStatus::at(now, self.created_at, self.contacted_at)
    }

    /// The state that lists filter by, from the database value.
    pub(crate) fn stored_status(&self, now: Time) -> RunnerStatus {
        RunnerStatus::at(now, self.created_at, self.stored_contact)
    }

    /// Counts as online for the stuck sweep: not paused, and seen in the database's eyes.
    pub(crate) fn available(&self, now: Time) -> bool {
        !self.paused && self.stored_status(now) == RunnerStatus::Online
    }

    /// Records a contact: at once for the API, in the database only when the stored value is old or missing.
    pub(crate) fn heartbeat(&mut self, now: Time) {
        self.contacted_at = Some(now);
        if self.stored_contact.is_none_or(|stored| now - seconds(STORED_CONTACT_EVERY) >= stored) {
            self.stored_contact = Some(now);
        }
    }

    /// The value for `X-GitLab-Last-Update`, made anew with `fresh` if there is none or it is over an hour old.
    pub(crate) fn ensure_queue_value(&mut self, now: Time, fresh: String) -> String {
        match &self.queue_value {
            Some((value, since)) if *since > now - seconds(QUEUE_VALUE_LIFE) => value.clone(),
            _ => {
                self.queue_value = Some((fresh.clone(), now));
                fresh
            }
        }
    }

    /// Whether `value` is still current, so that the queue need not be read.
    pub(crate) fn queue_value_is_current(&self, now: Time, value: &str) -> bool {
        let live = self.queue_value.as_ref().filter(|(_, since)| *since > now - seconds(QUEUE_VALUE_LIFE));
        live.is_some_and(|(current, _)| current == value)
    }

    /// Whether a new job changes the queue value of this runner.
    pub(crate) fn has_recent_queue(&self, now: Time) -> bool {
        self.contacted_at.is_some_and(|at| at > now - seconds(RECENT_QUEUE))
    }
}

impl State {
    /// The runner that holds `token`, unless the token has expired.
    pub(crate) fn runner_by_token(&self, token: &str) -> Option<i64> {
        let now = self.now();
        let alive = |runner: &&Runner| runner.token_expires_at.is_none_or(|end| end > now);
        self.runners.values().find(|runner| runner.token == token).filter(alive).map(|runner| runner.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_follows_the_last_contact() {
        let created = Time::UNIX_EPOCH;
        let at = |hours: i64, contacted: Option<i64>| {
            let contacted = contacted.map(|hour| created + seconds(hour * 3600));
            RunnerStatus::at(created + seconds(hours * 3600), created, contacted)
        };
        assert_eq!(at(1, None), RunnerStatus::NeverContacted);
        assert_eq!(at(1, Some(0)), RunnerStatus::Online);
        assert_eq!(at(2, Some(0)), RunnerStatus::Offline);
        assert_eq!(at(7 * 24, Some(0)), RunnerStatus::Stale);
        assert_eq!(at(7 * 24, None), RunnerStatus::Stale);
    }
}
