//! What one tick does: a pure function from facts to actions.
//!
//! Counting, not pairing, because GitLab hands a runner any job that it matches: per instance the waiting jobs are the
//! need, what its launches can still take is the supply, and the difference is launched.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use meta_core::launches::{Launch, State};
use meta_core::matching::{Mismatch, match_jobs};
use meta_core::name::InstanceName;

use crate::backoff::{self, LostJobs, Retry};
use crate::facts::{Facts, Job, Place, Site, wishes};
use crate::outlook::{Note, Outlook};
use crate::settle::settle;
use crate::shares::{Budget, Grant, WaitingJob, Wish, grant};
use crate::supply::{self, Supply};
use crate::surplus::{Cancellation, surplus};
use crate::waiting;

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
    /// Keep the instance online in GitLab.
    KeepOnline(InstanceName),
    /// Say that GitLab will drop jobs that still wait: those with these ids, by the time that each has left.
    Warn {
        /// Not empty.
        jobs: Vec<u64>,
        /// Seconds until the first of them is dropped.
        in_s: u64,
    },
    /// Take launches that wait in vain out of the queue of one batch system, by one command.
    Cancel(Vec<Cancellation>),
    /// Make one submission.
    Launch(NewLaunch),
}

/// A submission to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLaunch {
    /// Whose launch command.
    pub instance: InstanceName,
    /// Equal launches that it makes, as an array if there are several.
    pub elements: u32,
    /// Jobs that each of them is good for.
    pub slots: u32,
    /// The waiting jobs that ask for it.
    pub jobs: Vec<u64>,
}

/// Plans one tick.
///
/// The order of jobs has no influence. Nothing is launched or cancelled while the batch system is unknown, since what
/// was launched before may wait in its queue.
pub fn plan(facts: &Facts) -> Plan {
    let mut launches = settle(facts);
    let matches = match_jobs(&facts.instances, &wishes(&facts.jobs));
    let tally = Tally::new(facts, &launches);

    let mut outlooks = BTreeMap::new();
    let mut wanted: BTreeMap<&InstanceName, Vec<WaitingJob>> = BTreeMap::new();
    // By batch system: no command reaches two of them.
    let mut cancelled: BTreeMap<usize, Vec<Cancellation>> = BTreeMap::new();
    let mut budget = tally.budget(facts);
    for name in facts.instances.keys() {
        let waiting = matches.by_instance.get(name).map_or(&[][..], Vec::as_slice);
        let mut outlook = tally.outlook(name, waiting);
        if let Some(site) = facts.sites.get(name) {
            if let Some(obstacle) = site.obstacle
                && !waiting.is_empty()
            {
                outlook.notes.push(Note::Obstacle(obstacle));
            }
            let eligible = eligible(waiting, &tally.lost, facts.now, &mut outlook);
            if let Place::Queue(number) = site.place {
                let surplus = surplus(name, &mut launches, &outlook, facts);
                cancelled.entry(number).or_default().extend(surplus);
            }
            let asked = tally.uncovered(name, &eligible, outlook.supply);
            // What the supply covers counts for its project.
            let covered = tally.per_project(eligible.iter().copied());
            let open = tally.per_project(asked.iter().map(|job| job.id));
            for (project, jobs) in covered {
                let jobs = jobs - open.get(&project).copied().unwrap_or(0);
                *budget.shares.entry(project).or_default() += jobs;
            }
            if !asked.is_empty() && may_launch(name, site, &tally, facts, &mut outlook) {
                wanted.insert(name, asked);
            }
        } else if !waiting.is_empty() {
            outlook.notes.push(Note::NotRegistered);
        }
        outlooks.insert(name.clone(), outlook);
    }
    let asked = by_priority(facts, wanted, &mut budget, &mut outlooks);

    let settled = launches.iter().zip(&facts.launches).filter(|(now, before)| now != before);
    let mut actions: Vec<Action> = settled.map(|(now, _)| Action::Settle(now.clone())).collect();
    // What the queue said is true for a moment only, and GitLab may take minutes to answer: it comes last. But a contact
    // that is due tells whether the token is good, so that of an instance comes before its launches.
    actions.extend(cancelled.into_values().flat_map(Cancellation::in_chunks).map(Action::Cancel));
    let mut contacts = waiting::contacts(facts, &outlooks);
    for new in asked {
        actions.extend(contacts.take(&new.instance).map(Action::KeepOnline));
        actions.push(Action::Launch(new));
    }
    actions.extend(waiting::warning(facts));
    actions.extend(contacts.into_iter().map(Action::KeepOnline));
    Plan { actions, outlooks, unmatched: matches.unmatched }
}

/// Strict priority within a tick: what one level leaves of the limits goes to the next. Equal ones share.
fn by_priority(
    facts: &Facts,
    mut wanted: BTreeMap<&InstanceName, Vec<WaitingJob>>,
    budget: &mut Budget,
    outlooks: &mut BTreeMap<InstanceName, Outlook>,
) -> Vec<NewLaunch> {
    let mut levels: BTreeMap<Reverse<i64>, Vec<&InstanceName>> = BTreeMap::new();
    for &name in wanted.keys() {
        levels.entry(Reverse(facts.instances[name].launch_priority)).or_default().push(name);
    }
    let mut asked = Vec::new();
    for names in levels.into_values() {
        let wishes: Vec<Wish> = names
            .iter()
            .map(|name| Wish {
                jobs: wanted.remove(name).unwrap_or_default(),
                room: room(facts, name, &outlooks[*name]),
            })
            .collect();
        let grants = grant(&wishes, budget);
        for (name, grant) in names.into_iter().zip(grants) {
            let Some(outlook) = outlooks.get_mut(name) else { continue };
            outlook.launching = grant.launches.len() as u32;
            note_limits(facts, name, &grant, outlook);
            asked.extend(submissions(name, grant.launches, facts.sites[name].max_array));
        }
    }
    asked
}

fn room(facts: &Facts, name: &InstanceName, outlook: &Outlook) -> u32 {
    facts.instances[name].max_launches.unwrap_or(u32::MAX).saturating_sub(outlook.live())
}

fn note_limits(facts: &Facts, name: &InstanceName, grant: &Grant, outlook: &mut Outlook) {
    if let (1.., Some(limit)) = (grant.over_own_limit, facts.instances[name].max_launches) {
        outlook.notes.push(Note::MaxLaunches { limit, left: grant.over_own_limit });
    }
    if grant.over_limit_of_all > 0 {
        let limit = facts.limits.max_in_flight;
        outlook.notes.push(Note::MaxInFlight { limit, left: grant.over_limit_of_all });
    }
    if let (1.., Some(limit)) = (grant.over_project_limit, facts.limits.max_per_project) {
        outlook.notes.push(Note::MaxPerProject { limit, left: grant.over_project_limit });
    }
}

/// Equal launches go into one submission, as far as arrays reach.
fn submissions(instance: &InstanceName, launches: Vec<Vec<u64>>, max_array: u32) -> Vec<NewLaunch> {
    let mut made: Vec<NewLaunch> = Vec::new();
    for jobs in launches {
        let slots = jobs.len() as u32;
        match made.last_mut() {
            Some(last) if last.slots == slots && last.elements < max_array => {
                last.elements += 1;
                last.jobs.extend(jobs);
            }
            _ => made.push(NewLaunch { instance: instance.clone(), elements: 1, slots, jobs }),
        }
    }
    made
}

/// What is the same for all instances of a tick, counted once.
struct Tally<'a> {
    facts: &'a Facts,
    jobs: HashMap<u64, &'a Job>,
    active: HashMap<u64, u64>,
    own: BTreeMap<InstanceName, Vec<Launch>>,
    lost: LostJobs,
}

impl<'a> Tally<'a> {
    fn new(facts: &'a Facts, launches: &[Launch]) -> Self {
        let mut own: BTreeMap<InstanceName, Vec<Launch>> = BTreeMap::new();
        for launch in launches {
            own.entry(launch.instance.clone()).or_default().push(launch.clone());
        }
        let jobs = facts.jobs.iter().map(|job| (job.id, job)).collect();
        Self { facts, jobs, active: facts.active(), own, lost: LostJobs::new(launches) }
    }

    fn project(&self, job: u64) -> u64 {
        self.jobs.get(&job).map_or(0, |job| job.project)
    }

    fn per_project(&self, jobs: impl Iterator<Item = u64>) -> HashMap<u64, u32> {
        let mut counts = HashMap::new();
        for job in jobs {
            *counts.entry(self.project(job)).or_default() += 1;
        }
        counts
    }

    fn launches(&self, name: &InstanceName) -> Vec<&Launch> {
        self.own.get(name).map_or(&[][..], Vec::as_slice).iter().collect()
    }

    /// What the limits leave at the begin of the tick.
    fn budget(&self, facts: &Facts) -> Budget {
        let live: u32 = self.own.values().flatten().map(Launch::live_elements).sum();
        let mut shares: HashMap<u64, u32> = HashMap::new();
        for job in facts.jobs.iter().filter(|job| !job.is_waiting()) {
            *shares.entry(job.project).or_default() += 1;
        }
        Budget {
            launches: facts.limits.max_in_flight.saturating_sub(live),
            group_size: facts.limits.group_size,
            per_project: facts.limits.max_per_project,
            shares,
        }
    }

    fn outlook(&self, name: &InstanceName, waiting: &[u64]) -> Outlook {
        let own = self.launches(name);
        let site = self.facts.sites.get(name);
        let active = site.and_then(|site| self.active.get(&site.runner)).copied().unwrap_or(0);
        let mut failed = own.iter().filter(|launch| matches!(launch.state, State::Failed | State::Lost));
        let oldest = waiting.iter().filter_map(|job| self.jobs.get(job)).map(|job| job.queued_s).max();
        Outlook {
            waiting: waiting.len() as u64,
            oldest_waiting_s: oldest.unwrap_or(0),
            active,
            supply: site.map_or_else(Supply::default, |site| supply::of(&own, site, active, self.facts.now)),
            queued: own.iter().map(|launch| launch.waiting_elements()).sum(),
            running: own.iter().map(|launch| launch.running_elements()).sum(),
            launching: 0,
            failed: failed.clone().count() as u64,
            latest_failure: failed.next_back().and_then(|launch| launch.reason.clone()),
            notes: Vec::new(),
        }
    }

    /// As many of the jobs as the supply leaves over: those first that no living launch was made for.
    fn uncovered(&self, name: &InstanceName, eligible: &[u64], supply: Supply) -> Vec<WaitingJob> {
        let short = (eligible.len() as u64).saturating_sub(supply.slots());
        let live = self.launches(name).into_iter().filter(|launch| launch.state.is_live());
        let made_for: BTreeSet<u64> = live.flat_map(|launch| launch.jobs.iter().copied()).collect();
        let job = |&id: &u64| WaitingJob { covered: made_for.contains(&id), id, project: self.project(id) };
        let mut jobs: Vec<WaitingJob> = eligible.iter().map(job).collect();
        jobs.sort_unstable();
        jobs.truncate(usize::try_from(short).unwrap_or(usize::MAX));
        jobs
    }
}

/// Waiting jobs without those whose launches were lost too often, or a moment ago.
fn eligible(waiting: &[u64], lost: &LostJobs, now: u64, outlook: &mut Outlook) -> Vec<u64> {
    let (mut jobs, mut later, mut given_up) = (Vec::new(), Vec::new(), Vec::new());
    for &job in waiting {
        match lost.retry(job, now) {
            Retry::Now => jobs.push(job),
            Retry::At(at) => later.push((at - now, job)),
            Retry::GivenUp(launches) => given_up.push((launches, job)),
        }
    }
    later.sort_unstable();
    given_up.sort_unstable();
    if let Some(&(in_s, _)) = later.first() {
        let jobs = later.into_iter().map(|(_, job)| job).collect();
        outlook.notes.push(Note::LaterAgain { jobs, in_s });
    }
    if let Some(&(launches, _)) = given_up.first() {
        let jobs = given_up.into_iter().map(|(_, job)| job).collect();
        outlook.notes.push(Note::GivenUp { jobs, launches });
    }
    jobs
}

/// Whether submissions make sense now.
fn may_launch(
    name: &InstanceName,
    site: &Site,
    tally: &Tally<'_>,
    facts: &Facts,
    outlook: &mut Outlook,
) -> bool {
    if site.obstacle.is_some() {
        return false;
    }
    if matches!(site.place, Place::Queue(_)) && facts.queue(name).is_none() {
        outlook.notes.push(Note::BatchUnknown);
        return false;
    }
    if let Some(hold) = backoff::hold(&tally.launches(name), &site.fingerprint, facts.now) {
        let in_s = hold.until.map(|until| until.saturating_sub(facts.now));
        outlook.notes.push(Note::Refused { in_s, reason: hold.reason });
        return false;
    }
    true
}

#[cfg(test)]
mod tests;
