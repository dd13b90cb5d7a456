//! Launches that wait in vain, because their jobs were cancelled or taken by somebody else.

use meta_core::launches::{Launch, State, Surplus};
use meta_core::name::InstanceName;

use crate::facts::{Facts, QueueEntry, QueueState};
use crate::outlook::Outlook;

/// Ids that one command cancels: a command line has its limits, and a controller its patience.
const CHUNK: usize = 100;

/// A launch, or some tasks of an array, to be taken out of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// The launch's id in the ledger.
    pub id: String,
    /// Its id in the batch system.
    pub batch_id: String,
    /// The tasks; empty for the whole of it.
    pub tasks: Vec<u32>,
}

impl Cancellation {
    /// Parts them so that no part has more ids than one command should carry.
    pub(crate) fn in_chunks(cancelled: Vec<Self>) -> Vec<Vec<Self>> {
        let mut chunks: Vec<Vec<Self>> = Vec::new();
        let mut free = 0;
        for cancellation in cancelled.into_iter().flat_map(Self::split) {
            let ids = cancellation.tasks.len().max(1);
            match chunks.last_mut() {
                Some(chunk) if ids <= free => chunk.push(cancellation),
                _ => {
                    chunks.push(vec![cancellation]);
                    free = CHUNK;
                }
            }
            free -= ids;
        }
        chunks
    }

    fn split(self) -> Vec<Self> {
        if self.tasks.is_empty() {
            return vec![self];
        }
        self.tasks.chunks(CHUNK).map(|tasks| Self { tasks: tasks.to_vec(), ..self.clone() }).collect()
    }
}

/// Cancels queued elements that no waiting job needs, newest first, once they were seen to be surplus in two ticks.
///
/// The batch system was asked first, so some elements that it calls queued have taken a job since, and look surplus. They
/// are those that have left the queue by the next look. Running elements are no reason to cancel queued ones: whether they
/// still take a job is not known.
pub(crate) fn surplus(
    name: &InstanceName,
    launches: &mut [Launch],
    outlook: &Outlook,
    facts: &Facts,
) -> Vec<Cancellation> {
    let Some(queue) = facts.queue(name).filter(|_| facts.jobs_complete) else { return Vec::new() };
    let mut spare = outlook.supply.queued.saturating_sub(outlook.waiting);
    let own = launches.iter().zip(&facts.launches).filter(|(launch, _)| launch.instance == *name);
    let (mut noted, mut left) = (0, 0);
    for (launch, before) in own {
        noted += before.surplus.map_or(0, |surplus| surplus.elements);
        left += before.waiting_elements().saturating_sub(launch.waiting_elements());
    }
    let mut confirmed = u32::saturating_sub(noted, left);
    let mut cancelled = Vec::new();
    for launch in launches.iter_mut().rev().filter(|l| l.instance == *name && l.state == State::Queued) {
        let Some(batch_id) = launch.batch_id.clone() else { continue };
        let slots = u64::from(launch.slots.max(1));
        let elements = launch.waiting_elements().min(u32::try_from(spare / slots).unwrap_or(u32::MAX));
        spare -= u64::from(elements) * slots;
        let elements = seen_twice(launch, elements, confirmed, facts);
        confirmed -= elements;
        if elements == 0 {
            continue;
        }
        let id = launch.id.clone();
        if elements == launch.live_elements() {
            cancelled.push(Cancellation { id, batch_id, tasks: Vec::new() });
        } else if let Some(tasks) = latest_tasks(queue, &batch_id, elements) {
            cancelled.push(Cancellation { id, batch_id, tasks });
        }
    }
    cancelled
}

/// How many of these surplus elements were surplus at an earlier look, too, and `confirmed` at the most. The others are
/// noted for the next one.
fn seen_twice(launch: &mut Launch, elements: u32, confirmed: u32, facts: &Facts) -> u32 {
    let before = launch.surplus.unwrap_or(Surplus { since: facts.now, elements });
    let both = before.elements.min(elements);
    // Two ticks may follow each other closely (cron beside a hand); half an interval is a second look.
    let is_second = before.since < facts.now && (facts.now - before.since) * 2 >= facts.limits.interval_s;
    let (twice, noted) = if is_second {
        let twice = both.min(confirmed);
        (twice, Surplus { since: facts.now, elements: elements - twice })
    } else {
        (0, Surplus { since: before.since, elements: both })
    };
    launch.surplus = Some(noted).filter(|noted| noted.elements > 0);
    twice
}

/// The last tasks of an array that wait; `None` if the list does not tell them apart.
fn latest_tasks(queue: &[QueueEntry], batch_id: &str, elements: u32) -> Option<Vec<u32>> {
    let waiting = queue.iter().filter(|e| e.batch_id == batch_id && e.state == QueueState::Waiting);
    let mut tasks: Vec<u32> = waiting.flat_map(|entry| entry.tasks.iter().cloned().flatten()).collect();
    tasks.sort_unstable();
    let first = tasks.len().checked_sub(elements as usize)?;
    Some(tasks.split_off(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_carries_more_ids_than_a_chunk() {
        let cancelled = |id: &str, tasks: std::ops::Range<u32>| Cancellation {
            id: id.to_owned(),
            batch_id: id.to_owned(),
            tasks: tasks.collect(),
        };
        let sizes: Vec<Vec<usize>> = Cancellation::in_chunks(vec![
            cancelled("1", 0..150),
            cancelled("2", 0..0),
            cancelled("3", 0..99),
        ])
        .iter()
        .map(|chunk| chunk.iter().map(|c| c.tasks.len().max(1)).collect())
        .collect();
        assert_eq!(sizes, [vec![100], vec![50, 1], vec![99]]);
        assert_eq!(Cancellation::in_chunks(Vec::new()), Vec::<Vec<Cancellation>>::new());
    }
}
