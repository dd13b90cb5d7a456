//! What GitLab does to jobs that wait too long, and what is done against it.
//!
//! A pending job without an online runner that matches it is dropped after an hour; contact counts for two hours, but is
//! stored up to 55 minutes late. Every pending job is dropped after a day. GitLab lets nobody change these limits
//! (gitlab `stuck_builds/*`, `app/models/ci/runner.rb`).

use std::collections::{BTreeMap, BTreeSet};

use meta_core::name::InstanceName;

use crate::facts::Facts;
use crate::job_names::job_names;
use crate::outlook::Outlook;
use crate::plan::Action;

/// Seconds between two contacts in an instance's name: several fit into the hour, so one may fail.
const CONTACT_EVERY_S: u64 = 600;

/// Seconds after which GitLab drops a pending job, whatever is online.
const DROPPED_AFTER_S: u64 = 24 * 3600;

/// Seconds before that at which people are told.
const WARNED_BEFORE_S: u64 = 4 * 3600;

/// Seconds between two such announcements.
const WARNED_EVERY_S: u64 = 3600;

/// Instances with waiting jobs that were not in contact lately.
pub(crate) fn contacts(facts: &Facts, outlooks: &BTreeMap<InstanceName, Outlook>) -> BTreeSet<InstanceName> {
    let Some(contacts) = &facts.kept_online else { return BTreeSet::new() };
    let is_due = |name: &InstanceName| {
        contacts.get(name.as_str()).is_none_or(|at| facts.now.saturating_sub(*at) >= CONTACT_EVERY_S)
    };
    let waits = outlooks.iter().filter(|(_, outlook)| outlook.waiting > 0).map(|(name, _)| name);
    waits.filter(|name| facts.sites.contains_key(*name) && is_due(name)).cloned().collect()
}

/// Jobs that will not wait much longer, each once. Where many come to their end one after the other, those of an hour are
/// told together.
pub(crate) fn warning(facts: &Facts) -> Option<Action> {
    if facts.warned.values().any(|at| facts.now.saturating_sub(*at) < WARNED_EVERY_S) {
        return None;
    }
    let mut jobs: Vec<(u64, u64)> = facts
        .jobs
        .iter()
        .filter(|job| job.is_waiting() && job.queued_s + WARNED_BEFORE_S >= DROPPED_AFTER_S)
        .filter(|job| !facts.warned.contains_key(&job.id))
        .map(|job| (DROPPED_AFTER_S.saturating_sub(job.queued_s), job.id))
        .collect();
    jobs.sort_unstable();
    let (in_s, _) = *jobs.first()?;
    Some(Action::Warn { jobs: jobs.into_iter().map(|(_, id)| id).collect(), in_s })
}

/// What people are told of it.
pub(crate) fn announcement(jobs: &[u64], in_s: u64) -> String {
    let (names, hours) = (job_names(jobs), in_s / 3600 + 1);
    let (wait, which) = if jobs.len() == 1 { ("waits", "it") } else { ("wait", "the first of them") };
    format!("{names} still {wait}: GitLab drops {which} in less than {hours} h (retry in GitLab then)")
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
    fn a_contact_that_is_due_comes_before_the_launches_of_its_instance() {
        let mut facts = facts(&["a", "b", "c"]);
        facts.kept_online = Some(BTreeMap::from([("b".to_owned(), NOW)]));
        facts.jobs = vec![job(7, "a"), job(8, "b"), job(9, "c")];
        facts.sites.get_mut(&"c".parse().unwrap()).unwrap().obstacle = Some(crate::facts::Obstacle::Paused);
        let shown: Vec<String> = plan(&facts)
            .actions
            .iter()
            .map(|action| match action {
                Action::KeepOnline(name) => format!("keep {name}"),
                Action::Launch(new) => format!("launch {}", new.instance),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, ["keep a", "launch a", "launch b", "keep c"]);
    }

    #[test]
    fn jobs_that_near_their_end_are_announced_together_and_once() {
        let mut facts = facts(&["a"]);
        let waits = |id, queued_s| Job { queued_s, ..job(id, "a") };
        facts.jobs = vec![waits(9, 20 * 3600), waits(8, 25 * 3600), waits(7, 20 * 3600 - 1)];
        let warn = |jobs: &[u64], in_s| Action::Warn { jobs: jobs.to_vec(), in_s };
        assert_eq!(asked(&facts), [warn(&[8, 9], 0)]);
        facts.warned = BTreeMap::from([(8, NOW - 3600), (9, NOW - 3600)]);
        assert_eq!(asked(&facts), []);
        facts.jobs.push(waits(10, 21 * 3600));
        assert_eq!(asked(&facts), [warn(&[10], 3 * 3600)]);
        facts.warned.insert(8, NOW - 3599);
        assert_eq!(asked(&facts), [], "not more than one an hour");
    }

    #[test]
    fn an_announcement_is_one_line() {
        let one = "job 1 still waits: GitLab drops it in less than 1 h (retry in GitLab then)";
        assert_eq!(announcement(&[1], 0), one);
        let two =
            "jobs 1, 2 still wait: GitLab drops the first of them in less than 3 h (retry in GitLab then)";
        assert_eq!(announcement(&[1, 2], 2 * 3600), two);
    }
}
