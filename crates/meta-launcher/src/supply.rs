//! How many jobs the launches that exist can still take.

use meta_core::launches::{Launch, State};

use crate::facts::Site;

/// Capacity of one instance, in jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Supply {
    /// Of launches that wait in the batch system, or may do so.
    pub queued: u64,
    /// Of launches that began to run and may still ask for a job.
    pub starting: u64,
}

impl Supply {
    /// All of it.
    pub fn slots(self) -> u64 {
        self.queued + self.starting
    }
}

/// The capacity of one instance's launches (closed ones count nothing) while its runner has `active` jobs.
///
/// A running launch asks for jobs until its grace is over. Jobs that the runner has are with the older launches first,
/// one with each, since `run-single` takes one job at a time; what is left of them fills slots of the younger ones.
pub(crate) fn of(launches: &[&Launch], site: &Site, active: u64, now: u64) -> Supply {
    let mut supply = Supply::default();
    let (mut young_slots, mut old_launches) = (0, 0);
    for launch in launches {
        match launch.state {
            State::Submitting | State::Queued | State::Unknown => supply.queued += launch.capacity(),
            State::Running if is_young(launch, site, now) => young_slots += launch.capacity(),
            State::Running => old_launches += u64::from(launch.elements),
            State::Done | State::Lost | State::Failed | State::Cancelled => {}
        }
    }
    let with_young = active.saturating_sub(old_launches);
    supply.starting = young_slots.saturating_sub(with_young);
    supply
}

fn is_young(launch: &Launch, site: &Site, now: u64) -> bool {
    now.saturating_sub(launch.started.unwrap_or(launch.changed)) < site.start_grace_s
}
