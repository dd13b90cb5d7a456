//! What one tick does: a pure function from facts to actions.
//!
//! Counting, not pairing, because GitLab hands a runner any job that it matches: per instance the waiting jobs are the
//! need, what its launches can still take is the supply, and the difference is launched.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use meta_core::launches::{Launch, State};
use meta_core::matching::{Mismatch, Wish, match_jobs};
use meta_core::name::InstanceName;

use crate::backoff::{self, LostJobs, Retry};
use crate::facts::{Batch, Facts, Site};
use crate::outlook::{Note, Outlook};
use crate::settle::settle;
use crate::supply::{self, Supply};

/// What is to be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are performed.
    pub actions: Vec<Action>,
    /// How each instance stands.
    pub outlooks: BTreeMap<InstanceName, Outlook>,
    /// Waiting jobs that no instance may take.
    pub unmatched: BTreeMap<u64, Mismatch>,
}

/// One step, with everything that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The launch with this id has become this.
    Settle(Launch),
    /// Take a launch that waits in vain out of the queue.
    Cancel {
        /// Its id in the ledger.
        id: String,
        /// Its id in the batch system.
        batch_id: String,
    },
    /// Submit one launch.
    Launch {
        /// Whose launch command.
        instance: InstanceName,
        /// Jobs that it is good for.
        slots: u32,
        /// The waiting jobs that ask for it.
        jobs: Vec<u64>,
    },
}

/// Plans one tick.
///
/// The order of jobs has no influence. Nothing is launched or cancelled while the batch system is unknown, since what
/// was launched before may wait in its queue.
pub fn plan(facts: &Facts) -> Plan {
    let mut launches = settle(facts);
    let wishes: Vec<Wish> = facts
        .jobs
        .iter()
        .filter(|job| job.is_waiting())
        .map(|job| Wish { job: job.id, tags: job.tags.clone(), protected: job.protected })
        .collect();
    let matches = match_jobs(&facts.instances, &wishes);
    let tally = Tally::new(facts, &launches);

    let mut outlooks = BTreeMap::new();
    let mut asked = Vec::new();
    let mut cancelled = Vec::new();
    let mut in_flight =
        launches.iter().filter(|launch| launch.state.is_live()).map(|launch| launch.elements).sum();
    for name in by_priority(facts) {
        let waiting = matches.by_instance.get(name).map_or(&[][..], Vec::as_slice);
        let mut outlook = tally.outlook(name, waiting, &launches);
        if let Some(site) = facts.sites.get(name) {
            let eligible = eligible(waiting, &tally.lost, facts.now, &mut outlook);
            cancelled.extend(surplus(name, &mut launches, &outlook, facts));
            asked.extend(launch(name, site, &eligible, &launches, &mut in_flight, &mut outlook, facts));
        } else if !waiting.is_empty() {
            outlook.notes.push(Note::NotRegistered);
        }
        outlooks.insert(name.clone(), outlook);
    }

    let settled = launches.iter().zip(&facts.launches).filter(|(now, before)| now != before);
    let mut actions: Vec<Action> = settled.map(|(now, _)| Action::Settle(now.clone())).collect();
    actions.extend(cancelled);
    actions.extend(asked);
    Plan { actions, outlooks, unmatched: matches.unmatched }
}

/// Strict priority within a tick: what one instance leaves of the limits goes to the next.
fn by_priority(facts: &Facts) -> Vec<&InstanceName> {
    let mut names: Vec<&InstanceName> = facts.instances.keys().collect();
    names.sort_by_key(|name| (Reverse(facts.instances[*name].launch_priority), *name));
    names
}

/// What is the same for all instances of a tick, counted once.
struct Tally<'a> {
    facts: &'a Facts,
    active: HashMap<u64, u64>,
    queued_s: HashMap<u64, u64>,
    lost: LostJobs,
}

impl<'a> Tally<'a> {
    fn new(facts: &'a Facts, launches: &[Launch]) -> Self {
        let queued_s = facts.jobs.iter().map(|job| (job.id, job.queued_s)).collect();
        Self { facts, active: facts.active(), queued_s, lost: LostJobs::new(launches) }
    }

    fn outlook(&self, name: &InstanceName, waiting: &[u64], launches: &[Launch]) -> Outlook {
        let own: Vec<&Launch> = launches.iter().filter(|launch| launch.instance == *name).collect();
        let site = self.facts.sites.get(name);
        let active = site.and_then(|site| self.active.get(&site.runner)).copied().unwrap_or(0);
        let latest_failure =
            own.iter().rev().find(|launch| matches!(launch.state, State::Failed | State::Lost));
        Outlook {
            waiting: waiting.len() as u64,
            oldest_waiting_s: waiting
                .iter()
                .filter_map(|job| self.queued_s.get(job))
                .copied()
                .max()
                .unwrap_or(0),
            active,
            supply: site.map_or_else(Supply::default, |site| supply::of(&own, site, active, self.facts.now)),
            live: own.iter().filter(|launch| launch.state.is_live()).map(|launch| launch.elements).sum(),
            launching: 0,
            latest_failure: latest_failure.and_then(|launch| launch.reason.clone()),
            notes: Vec::new(),
        }
    }
}

/// Waiting jobs without those whose launches were lost too often, or a moment ago.
fn eligible(waiting: &[u64], lost: &LostJobs, now: u64, outlook: &mut Outlook) -> Vec<u64> {
    let mut jobs = Vec::new();
    for &job in waiting {
        match lost.retry(job, now) {
            Retry::Now => jobs.push(job),
            Retry::At(at) => outlook.notes.push(Note::LaterAgain { job, in_s: at - now }),
            Retry::GivenUp(launches) => outlook.notes.push(Note::GivenUp { job, launches }),
        }
    }
    jobs
}

/// Cancels queued launches that no waiting job needs, newest first, once they were seen to be surplus in two ticks.
fn surplus(name: &InstanceName, launches: &mut [Launch], outlook: &Outlook, facts: &Facts) -> Vec<Action> {
    if !facts.jobs_complete || facts.batch == Batch::Unknown {
        return Vec::new();
    }
    let mut spare = outlook.supply.slots().saturating_sub(outlook.waiting);
    let mut cancelled = Vec::new();
    for launch in launches.iter_mut().rev().filter(|l| l.instance == *name && l.state == State::Queued) {
        let Some(batch_id) = launch.batch_id.clone() else { continue };
        if launch.capacity() > spare {
            launch.surplus_since = None;
            continue;
        }
        spare -= launch.capacity();
        let since = *launch.surplus_since.get_or_insert(facts.now);
        // Two ticks may follow each other closely (cron beside a hand); half an interval is a second look.
        if facts.now.saturating_sub(since) * 2 >= facts.interval_s && since < facts.now {
            cancelled.push(Action::Cancel { id: launch.id.clone(), batch_id });
        }
    }
    cancelled
}

/// Asks for the launches of one instance: need less supply, in groups, under the limits.
fn launch(
    name: &InstanceName,
    site: &Site,
    eligible: &[u64],
    launches: &[Launch],
    in_flight: &mut u32,
    outlook: &mut Outlook,
    facts: &Facts,
) -> Vec<Action> {
    let mut short = (eligible.len() as u64).saturating_sub(outlook.supply.slots());
    if short == 0 {
        return Vec::new();
    }
    if facts.batch == Batch::Unknown {
        outlook.notes.push(Note::BatchUnknown);
        return Vec::new();
    }
    let own: Vec<&Launch> = launches.iter().filter(|launch| launch.instance == *name).collect();
    if let Some(hold) = backoff::hold(&own, &site.fingerprint, facts.now) {
        let in_s = hold.until.map(|until| until.saturating_sub(facts.now));
        outlook.notes.push(Note::Refused { in_s, reason: hold.reason });
        return Vec::new();
    }
    let mut jobs = uncovered_first(eligible, &own).into_iter();
    let limit = facts.instances[name].max_launches.unwrap_or(u32::MAX);
    let mut asked = Vec::new();
    while short > 0 {
        if outlook.live + outlook.launching >= limit {
            outlook.notes.push(Note::MaxLaunches { limit, left: short });
            break;
        }
        if *in_flight >= facts.max_in_flight {
            outlook.notes.push(Note::MaxInFlight { limit: facts.max_in_flight, left: short });
            break;
        }
        let slots = u32::try_from(short).unwrap_or(u32::MAX).min(facts.group_size);
        asked.push(Action::Launch {
            instance: name.clone(),
            slots,
            jobs: jobs.by_ref().take(slots as usize).collect(),
        });
        short -= u64::from(slots);
        outlook.launching += 1;
        *in_flight += 1;
    }
    asked
}

/// Jobs that no living launch was made for, then the others, each by id: the order in which to explain launches by them.
fn uncovered_first(eligible: &[u64], own: &[&Launch]) -> Vec<u64> {
    let covered: BTreeSet<u64> = own
        .iter()
        .filter(|launch| launch.state.is_live())
        .flat_map(|launch| launch.jobs.iter().copied())
        .collect();
    let (behind, mut jobs): (Vec<u64>, Vec<u64>) = eligible.iter().partition(|job| covered.contains(job));
    jobs.extend(behind);
    jobs
}

#[cfg(test)]
mod tests;
