//! The ledger brought up to date with the batch system and GitLab: what each launch has become.

use std::collections::{BTreeSet, HashMap};

use meta_core::config::launch::Scheduler;
use meta_core::launches::{Launch, State};

use crate::facts::{Batch, Facts, QueueEntry, QueueState, Site};
use crate::supply;

/// Seconds for which a submission whose answer was lost is looked for in the queue before it counts as not made.
const ANSWER_GRACE_S: u64 = 60;

/// Seconds for which a fresh submission may be missing from the queue: some sites answer queries from a cache.
const QUEUE_LAG_S: u64 = 15;

/// The launches as they are now, in the same order. Those that did not change are equal to what `facts` has.
///
/// With [`Batch::Unknown`] only launches that cannot be asked for change.
pub(crate) fn settle(facts: &Facts) -> Vec<Launch> {
    let mut launches = facts.launches.clone();
    let queue = Queue::new(&facts.batch);
    let mut gone = Vec::new();
    for (index, launch) in launches.iter_mut().enumerate() {
        let found = match facts.sites.get(&launch.instance).map(|site| (site, site.scheduler)) {
            Some((site, Scheduler::None)) => age(launch, site, facts.now),
            _ => queue.as_ref().map_or(Found::Unchanged, |queue| queue.look_up(launch, facts.now)),
        };
        if apply(launch, found, facts.now) {
            gone.push(index);
        }
    }
    close(&mut launches, gone, facts);
    launches
}

/// What a look at one launch shows.
enum Found {
    Unchanged,
    Waiting { batch_id: String, reason: Option<String> },
    Running { batch_id: String, since: u64 },
    AnswerLost,
    NeverSubmitted,
    Gone(String),
}

struct Queue<'a> {
    entries: &'a [QueueEntry],
    by_id: HashMap<&'a str, Vec<&'a QueueEntry>>,
}

impl<'a> Queue<'a> {
    fn new(batch: &'a Batch) -> Option<Self> {
        let Batch::Known(entries) = batch else { return None };
        let mut by_id: HashMap<&str, Vec<&QueueEntry>> = HashMap::new();
        for entry in entries {
            by_id.entry(&entry.batch_id).or_default().push(entry);
        }
        Some(Self { entries, by_id })
    }

    fn look_up(&self, launch: &Launch, now: u64) -> Found {
        let entries = match &launch.batch_id {
            Some(id) => self.by_id.get(id.as_str()).cloned().unwrap_or_default(),
            None => {
                self.entries.iter().filter(|e| e.marks.iter().any(|mark| mark.contains(&launch.id))).collect()
            }
        };
        // Elements of an array are told apart by nothing but their state: one that waits makes the launch wait.
        let first = |state| entries.iter().find(|entry| entry.state == state);
        if let Some(entry) = first(QueueState::Waiting) {
            let reason = Some(entry.word.clone()).filter(|word| !word.is_empty() && word != "None");
            return Found::Waiting { batch_id: entry.batch_id.clone(), reason };
        }
        if let Some(entry) = first(QueueState::Running) {
            return Found::Running {
                batch_id: entry.batch_id.clone(),
                since: now.saturating_sub(entry.elapsed_s),
            };
        }
        let age = now.saturating_sub(launch.submitted);
        match (launch.state, entries.first()) {
            (state, _) if !state.is_live() => Found::Unchanged,
            (_, Some(ended)) => Found::Gone(format!("it ended as {}", ended.word)),
            (State::Submitting, None) if age < ANSWER_GRACE_S => Found::AnswerLost,
            (State::Unknown, None) if age < ANSWER_GRACE_S => Found::Unchanged,
            (State::Submitting | State::Unknown, None) => Found::NeverSubmitted,
            (_, None) if age < QUEUE_LAG_S => Found::Unchanged,
            (_, None) => Found::Gone("it is gone from the queue".to_owned()),
        }
    }
}

/// A launch that nobody can be asked for is taken to be at work until its grace is over.
fn age(launch: &Launch, site: &Site, now: u64) -> Found {
    if !launch.state.is_live() || now.saturating_sub(launch.submitted) < site.start_grace_s {
        Found::Unchanged
    } else {
        Found::Gone("it had time enough to take a job".to_owned())
    }
}

/// Writes down what was found; true if the launch is gone and has yet to be judged.
fn apply(launch: &mut Launch, found: Found, now: u64) -> bool {
    let (state, reason) = match found {
        Found::Unchanged => return false,
        Found::Waiting { batch_id, reason } => {
            launch.batch_id = Some(batch_id);
            // Requeued by the batch system: it will start anew.
            launch.started = None;
            (State::Queued, reason)
        }
        Found::Running { batch_id, since } => {
            launch.batch_id = Some(batch_id);
            launch.started.get_or_insert(since);
            launch.surplus_since = None;
            (State::Running, None)
        }
        Found::AnswerLost => (State::Unknown, Some("the answer to the submission was lost".to_owned())),
        Found::NeverSubmitted => (State::Lost, Some("it never came to the queue".to_owned())),
        Found::Gone(reason) => {
            launch.reason = Some(reason);
            return true;
        }
    };
    change(launch, state, reason, now);
    false
}

fn change(launch: &mut Launch, state: State, reason: Option<String>, now: u64) {
    if launch.state != state {
        launch.state = state;
        launch.changed = now;
    }
    launch.reason = reason;
}

/// Judges the launches that are gone. Counting, not pairing: jobs that they were made for and that still wait must be
/// covered by launches that live; as many as that leaves open were lost with the latest of those that are gone.
fn close(launches: &mut [Launch], gone: Vec<usize>, facts: &Facts) {
    let (waiting, active) = (facts.waiting(), facts.active());
    for &index in &gone {
        change_to_done(&mut launches[index], facts.now);
    }
    let mut instances: Vec<_> = gone.iter().map(|&index| launches[index].instance.clone()).collect();
    instances.sort();
    instances.dedup();
    for instance in instances {
        let of_instance = |launch: &Launch| launch.instance == instance;
        let supply = facts.sites.get(&instance).map_or(0, |site| {
            let live: Vec<&Launch> = launches.iter().filter(|launch| of_instance(launch)).collect();
            supply::of(&live, site, active.get(&site.runner).copied().unwrap_or(0), facts.now).slots()
        });
        let mut open: BTreeSet<u64> = launches
            .iter()
            .enumerate()
            .filter(|(index, launch)| of_instance(launch) && (launch.state.is_live() || gone.contains(index)))
            .flat_map(|(_, launch)| launch.jobs.iter().copied())
            .filter(|job| waiting.contains(job))
            .collect();
        // GitLab hands out the lowest id first, so the living launches will take those.
        for _ in 0..supply {
            open.pop_first();
        }
        for &index in gone.iter().rev().filter(|&&index| of_instance(&launches[index])).collect::<Vec<_>>() {
            let launch = &mut launches[index];
            let jobs: Vec<u64> = (0..launch.capacity()).map_while(|_| open.pop_last()).collect();
            if !jobs.is_empty() {
                launch.state = State::Lost;
                launch.jobs = jobs;
                launch.jobs.sort_unstable();
            }
        }
    }
}

fn change_to_done(launch: &mut Launch, now: u64) {
    let reason = launch.reason.take();
    change(launch, State::Done, reason, now);
}

#[cfg(test)]
mod tests;
