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
    let (mut young_slots, mut old_elements) = (0, 0);
    for launch in launches {
        let slots = u64::from(launch.slots);
        supply.queued += u64::from(launch.waiting_elements()) * slots;
        let young = match launch.state {
            // The list did not tell when it began.
            State::Running if launch.runs.is_empty() => u64::from(is_young(launch.changed, site, now)),
            _ => launch.runs.iter().filter(|&&start| is_young(start, site, now)).count() as u64,
        };
        if launch.state.is_live() {
            young_slots += young * slots;
            old_elements += u64::from(launch.running_elements()).saturating_sub(young);
        }
    }
    let with_young = active.saturating_sub(old_elements);
    supply.starting = young_slots.saturating_sub(with_young);
    supply
}

fn is_young(start: u64, site: &Site, now: u64) -> bool {
    now.saturating_sub(start) < site.start_grace_s
}
