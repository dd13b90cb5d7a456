//! The ledger brought up to date with the batch system and GitLab: what each launch has become.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashMap};

use meta_core::launches::{Launch, State};

use crate::facts::{Batch, Facts, Place, QueueEntry, QueueState, Site};
use crate::supply;

/// Seconds, beside the time that a submission may take, for which one whose answer was lost is looked for in the queue
/// before it counts as not made: nobody ends a launch command whose launcher was killed.
const ANSWER_GRACE_S: u64 = 60;

/// Seconds for which a fresh submission may be missing from the queue: some sites answer queries from a cache.
const QUEUE_LAG_S: u64 = 15;

/// The launches as they are now, in the same order. Those that did not change are equal to what `facts` has.
///
/// Where the batch system is [`Batch::Unknown`] no launch changes.
pub(crate) fn settle(facts: &Facts) -> Vec<Launch> {
    let mut launches = facts.launches.clone();
    let queues: Vec<Option<Queue<'_>>> =
        facts.batches.iter().map(|batch| Queue::new(std::slice::from_ref(batch))).collect();
    let all = LazyCell::new(|| Queue::new(&facts.batches));
    let mut ended = Vec::new();
    for (index, launch) in launches.iter_mut().enumerate() {
        let site = facts.sites.get(&launch.instance);
        let queue = match site.map(|site| site.place) {
            Some(Place::Queue(number)) => queues.get(number).and_then(Option::as_ref),
            Some(Place::Nowhere | Place::Unclear) => None,
            // Its instance is not registered, or gone: it may be in any of them.
            None => all.as_ref(),
        };
        let found = match site {
            Some(site) if site.place == Place::Nowhere => age(launch, site, facts.now),
            _ => queue.map_or(Found::Unchanged, |queue| queue.look_up(launch, facts)),
        };
        let elements = apply(launch, found, facts.now);
        if elements > 0 {
            ended.push(Ended { index, elements });
        }
    }
    judge(&mut launches, &ended, facts);
    launches
}

/// What a look at one launch shows.
enum Found {
    Unchanged,
    Alive(Alive),
    AnswerLost,
    NeverSubmitted,
    Gone(String),
}

/// A launch of which some elements wait or run.
struct Alive {
    batch_id: String,
    /// Elements in the list, those that have ended included.
    listed: u32,
    waiting: u32,
    /// When the running ones began; `None` where the list does not tell.
    runs: Vec<Option<u64>>,
    /// Why it waits.
    reason: Option<String>,
}

/// Elements of a launch that have ended since the last look.
struct Ended {
    index: usize,
    elements: u32,
}

struct Queue<'a> {
    entries: Vec<&'a QueueEntry>,
    by_id: HashMap<&'a str, Vec<&'a QueueEntry>>,
}

impl<'a> Queue<'a> {
    /// `None` if one of them is unknown.
    fn new(batches: &'a [Batch]) -> Option<Self> {
        let lists: Vec<&[QueueEntry]> = batches.iter().map(Batch::known).collect::<Option<_>>()?;
        let entries: Vec<&QueueEntry> = lists.into_iter().flatten().collect();
        let mut by_id: HashMap<&str, Vec<&QueueEntry>> = HashMap::new();
        for entry in &entries {
            by_id.entry(&entry.batch_id).or_default().push(entry);
        }
        Some(Self { entries, by_id })
    }

    fn look_up(&self, launch: &Launch, facts: &Facts) -> Found {
        let entries = match &launch.batch_id {
            Some(id) => self.by_id.get(id.as_str()).cloned().unwrap_or_default(),
            None => self.entries.iter().copied().filter(|entry| entry.is_marked(&launch.id)).collect(),
        };
        if let Some(alive) = Alive::of(&entries, facts.now) {
            return Found::Alive(alive);
        }
        let age = facts.now.saturating_sub(launch.submitted);
        let may_still_come = age < facts.limits.timeout_s + ANSWER_GRACE_S;
        // The word of an element that failed says more than that of one that did its work.
        let last_word =
            entries.iter().map(|entry| entry.word.as_str()).max_by_key(|word| *word != "COMPLETED");
        match (launch.state, last_word) {
            (state, _) if !state.is_live() => Found::Unchanged,
            (_, Some(word)) => Found::Gone(format!("it ended as {word}")),
            (State::Submitting, None) if may_still_come => Found::AnswerLost,
            (State::Unknown, None) if may_still_come => Found::Unchanged,
            (State::Submitting | State::Unknown, None) => Found::NeverSubmitted,
            // Since the answer to the submission: the command itself may take minutes.
            (_, None) if facts.now.saturating_sub(launch.changed) < QUEUE_LAG_S => Found::Unchanged,
            (_, None) => Found::Gone("it is gone from the queue".to_owned()),
        }
    }
}

impl Alive {
    /// `None` if none of the entries waits or runs.
    fn of(entries: &[&QueueEntry], now: u64) -> Option<Self> {
        let of_state = |state| entries.iter().filter(move |entry| entry.state == state);
        let first = of_state(QueueState::Waiting).chain(of_state(QueueState::Running)).next()?;
        let start = |entry: &&&QueueEntry| entry.elapsed_s.map(|elapsed| now.saturating_sub(elapsed));
        let runs = of_state(QueueState::Running)
            .flat_map(|entry| std::iter::repeat_n(start(&entry), entry.elements() as usize))
            .collect();
        let word = of_state(QueueState::Waiting).next().map(|entry| entry.word.clone());
        Some(Self {
            batch_id: first.batch_id.clone(),
            listed: entries.iter().map(|entry| entry.elements()).sum(),
            waiting: of_state(QueueState::Waiting).map(|entry| entry.elements()).sum(),
            runs,
            reason: word.filter(|word| !word.is_empty() && word != "None"),
        })
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

/// Writes down what was found. Gives the number of elements that have ended and have yet to be judged.
fn apply(launch: &mut Launch, found: Found, now: u64) -> u32 {
    let before = launch.live_elements();
    match found {
        Found::Unchanged => 0,
        Found::Alive(alive) => {
            if !launch.state.is_live() {
                // It was only out of sight, or was put into the queue again.
                launch.lost_at.clear();
            }
            let running = alive.runs.len() as u32;
            // A start that nobody tells is that of the last look, or now.
            let mut known = std::mem::take(&mut launch.runs).into_iter();
            let mut runs: Vec<u64> =
                alive.runs.into_iter().map(|start| start.or_else(|| known.next()).unwrap_or(now)).collect();
            runs.sort_unstable();
            launch.runs = runs;
            launch.batch_id = Some(alive.batch_id);
            launch.elements = launch.elements.max(alive.listed);
            launch.waiting = Some(alive.waiting).filter(|&waiting| waiting != launch.elements);
            if alive.waiting == 0 {
                launch.surplus = None;
            }
            let state = if alive.waiting > 0 { State::Queued } else { State::Running };
            change(launch, state, alive.reason, now);
            before.saturating_sub(alive.waiting + running)
        }
        Found::AnswerLost => {
            change(launch, State::Unknown, Some("the answer to the submission was lost".to_owned()), now);
            0
        }
        Found::NeverSubmitted => {
            launch.lost_at = launch.jobs.iter().map(|&job| (job, now)).collect();
            change(launch, State::Lost, Some("it never came to the queue".to_owned()), now);
            0
        }
        Found::Gone(reason) => {
            // Until it is judged.
            change(launch, State::Done, Some(reason), now);
            (launch.waiting, launch.runs) = (None, Vec::new());
            before.max(1)
        }
    }
}

fn change(launch: &mut Launch, state: State, reason: Option<String>, now: u64) {
    if launch.state != state {
        launch.state = state;
        launch.changed = now;
    }
    launch.reason = reason;
}

/// Judges the elements that have ended. Counting, not pairing: jobs that launches were made for and that still wait must
/// be covered by launches that live; as many as that leaves open were lost with the latest of those that have ended.
fn judge(launches: &mut [Launch], ended: &[Ended], facts: &Facts) {
    if ended.is_empty() {
        return;
    }
    let (waiting, active) = (facts.waiting(), facts.active());
    let instances: BTreeSet<_> = ended.iter().map(|ended| launches[ended.index].instance.clone()).collect();
    for instance in instances {
        let own = |launch: &Launch| launch.instance == instance;
        let supply = facts.sites.get(&instance).map_or(0, |site| {
            let live: Vec<&Launch> = launches.iter().filter(|launch| own(launch)).collect();
            supply::of(&live, site, active.get(&site.runner).copied().unwrap_or(0), facts.now).slots()
        });
        let ended: Vec<&Ended> = ended.iter().filter(|ended| own(&launches[ended.index])).collect();
        let concerned: BTreeSet<usize> = ended.iter().map(|ended| ended.index).collect();
        let mut open: BTreeSet<u64> = launches
            .iter()
            .enumerate()
            .filter(|(index, launch)| own(launch) && (launch.state.is_live() || concerned.contains(index)))
            .flat_map(|(_, launch)| launch.jobs.iter().copied())
            .filter(|job| waiting.contains(job))
            .collect();
        // GitLab hands out the lowest id first, so the living launches will take those.
        for _ in 0..supply {
            open.pop_first();
        }
        for ended in ended.into_iter().rev() {
            let launch = &mut launches[ended.index];
            // Jobs that it lost with elements that ended earlier were counted then: each time counts towards giving up.
            let known = launch.lost_at.keys().filter(|job| open.remove(job)).count();
            let capacity = u64::from(ended.elements) * u64::from(launch.slots);
            let lost: Vec<u64> = (0..capacity).map_while(|_| open.pop_last()).collect();
            if known == 0 && lost.is_empty() {
                continue;
            }
            launch.lost_at.extend(lost.into_iter().map(|job| (job, facts.now)));
            if !launch.state.is_live() {
                launch.state = State::Lost;
            }
        }
    }
}

#[cfg(test)]
mod tests;
