//! What GitLab does to jobs that wait too long, and what is done against it.
//!
//! A pending job without an online runner that matches it is dropped after an hour; contact counts for two hours, but is
//! stored up to 55 minutes late. Every pending job is dropped after a day. GitLab lets nobody change these limits
//! (gitlab `stuck_builds/*`, `app/models/ci/runner.rb`).

use std::collections::BTreeMap;

use meta_core::name::InstanceName;

use crate::facts::Facts;
use crate::outlook::Outlook;
use crate::plan::Action;

/// Seconds between two contacts in an instance's name: several fit into the hour, so one may fail.
const CONTACT_EVERY_S: u64 = 600;

/// Seconds after which GitLab drops a pending job, whatever is online.
const DROPPED_AFTER_S: u64 = 24 * 3600;

/// Seconds before that at which people are told.
const WARNED_BEFORE_S: u64 = 4 * 3600;

/// Instances with waiting jobs that were not in contact lately.
pub(crate) fn keep_online(facts: &Facts, outlooks: &BTreeMap<InstanceName, Outlook>) -> Vec<Action> {
    let Some(contacts) = &facts.kept_online else { return Vec::new() };
    let is_due = |name: &InstanceName| {
        contacts.get(name.as_str()).is_none_or(|at| facts.now.saturating_sub(*at) >= CONTACT_EVERY_S)
    };
    let waits = outlooks.iter().filter(|(_, outlook)| outlook.waiting > 0).map(|(name, _)| name);
    waits
        .filter(|name| facts.sites.contains_key(*name) && is_due(name))
        .map(|name| Action::KeepOnline(name.clone()))
        .collect()
}

/// Jobs that will not wait much longer, each once.
pub(crate) fn warnings(facts: &Facts) -> Vec<Action> {
    let mut warnings: Vec<Action> = facts
        .jobs
        .iter()
        .filter(|job| job.is_waiting() && job.queued_s + WARNED_BEFORE_S >= DROPPED_AFTER_S)
        .filter(|job| !facts.warned.contains(&job.id))
        .map(|job| Action::Warn { job: job.id, in_s: DROPPED_AFTER_S.saturating_sub(job.queued_s) })
        .collect();
    warnings.sort_by_key(|action| match action {
        Action::Warn { job, .. } => *job,
        _ => 0,
    });
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Job;
    use crate::plan::plan;
    use crate::testing::{NOW, facts, job};

    fn asked(facts: &Facts) -> Vec<Action> {
        let of_ours = |action: &Action| matches!(action, Action::KeepOnline(_) | Action::Warn { .. });
        plan(facts).actions.into_iter().filter(of_ours).collect()
    }

    #[test]
    fn who_has_waiting_jobs_is_kept_online_every_ten_minutes() {
        let mut facts = facts(&["a", "b", "c"]);
        facts.kept_online = Some(BTreeMap::new());
        facts.jobs = vec![job(7, "a"), job(8, "c")];
        facts.sites.remove(&"c".parse().unwrap());
        let keep_a = [Action::KeepOnline("a".parse().unwrap())];
        assert_eq!(asked(&facts), keep_a);
        facts.kept_online = Some(BTreeMap::from([("a".to_owned(), NOW - 599)]));
        assert_eq!(asked(&facts), []);
        facts.kept_online = Some(BTreeMap::from([("a".to_owned(), NOW - 600)]));
        assert_eq!(asked(&facts), keep_a);
        facts.kept_online = None;
        assert_eq!(asked(&facts), []);
    }

    #[test]
    fn a_job_that_nears_its_end_is_announced_once() {
        let mut facts = facts(&["a"]);
        let waits = |id, queued_s| Job { queued_s, ..job(id, "a") };
        facts.jobs = vec![waits(9, 20 * 3600), waits(8, 25 * 3600), waits(7, 20 * 3600 - 1)];
        let warn = |job, in_s| Action::Warn { job, in_s };
        assert_eq!(asked(&facts), [warn(8, 0), warn(9, 4 * 3600)]);
        facts.warned.insert(9);
        assert_eq!(asked(&facts), [warn(8, 0)]);
    }
}
