//! When something that failed is tried again.

use std::collections::HashMap;

use meta_core::launches::{Launch, State};

/// Seconds before the second try; each further one waits twice as long.
const FIRST_S: u64 = 30;

/// Seconds that no try waits longer than.
const LONGEST_S: u64 = 1800;

/// Lost launches after which a job is given up.
const LOST_LIMIT: u32 = 5;

/// Seconds to wait after so many failures in a row (at least one).
fn delay_s(failures: u32) -> u64 {
    (FIRST_S << failures.saturating_sub(1).min(6)).min(LONGEST_S)
}

/// Jobs whose launches were lost.
#[derive(Debug, Default)]
pub(crate) struct LostJobs(HashMap<u64, (u32, u64)>);

/// Whether a job is to be launched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Now,
    /// Unix seconds.
    At(u64),
    /// After so many lost launches.
    GivenUp(u32),
}

impl LostJobs {
    /// Counts how often each job was lost.
    pub(crate) fn new(launches: &[Launch]) -> Self {
        let mut jobs: HashMap<u64, (u32, u64)> = HashMap::new();
        for launch in launches {
            for (&job, &at) in &launch.lost_at {
                let (count, last) = jobs.entry(job).or_default();
                *count += 1;
                *last = at.max(*last);
            }
        }
        Self(jobs)
    }

    /// What to do about one job.
    pub(crate) fn retry(&self, job: u64, now: u64) -> Retry {
        match self.0.get(&job) {
            None => Retry::Now,
            Some(&(count, _)) if count >= LOST_LIMIT => Retry::GivenUp(count),
            Some(&(count, last)) if now < last + delay_s(count) => Retry::At(last + delay_s(count)),
            Some(_) => Retry::Now,
        }
    }
}

/// Why an instance's submissions are held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// When to try again; never with this configuration if absent.
    pub(crate) until: Option<u64>,
    /// What the batch system said.
    pub(crate) reason: String,
}

/// Whether the latest submissions of an instance (`launches`, in the order of submission) were refused so that the next
/// one has to wait.
pub(crate) fn hold(launches: &[&Launch], fingerprint: &str, now: u64) -> Option<Hold> {
    let refused = launches.iter().rev().take_while(|launch| launch.state == State::Failed);
    let (mut failures, mut latest) = (0, None);
    for launch in refused {
        failures += 1;
        latest.get_or_insert(*launch);
    }
    let latest = latest?;
    let reason = latest.reason.clone().unwrap_or_default();
    match &latest.refused_config {
        Some(refused) if refused == fingerprint => Some(Hold { until: None, reason }),
        // The configuration was changed since: try at once.
        Some(_) => None,
        None => {
            let until = latest.changed + delay_s(failures);
            (now < until).then_some(Hold { until: Some(until), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::launch;

    fn failed(changed: u64, refused_config: Option<&str>) -> Launch {
        Launch {
            state: State::Failed,
            changed,
            reason: Some("no".to_owned()),
            refused_config: refused_config.map(str::to_owned),
            ..launch("a", 1)
        }
    }

    #[test]
    fn delays_double_up_to_half_an_hour() {
        assert_eq!([1, 2, 3, 7, 64, 1000].map(delay_s), [30, 60, 120, 1800, 1800, 1800]);
    }

    #[test]
    fn a_job_comes_back_later_each_time_and_is_given_up_in_the_end() {
        let lost = |at| Launch { state: State::Lost, lost_at: BTreeMap::from([(7, at)]), ..launch("a", 1) };
        let retry = |times: &[u64], now| {
            let launches: Vec<Launch> = times.iter().map(|&at| lost(at)).collect();
            LostJobs::new(&launches).retry(7, now)
        };
        assert_eq!(retry(&[], 0), Retry::Now);
        assert_eq!(retry(&[100], 129), Retry::At(130));
        assert_eq!(retry(&[100], 130), Retry::Now);
        assert_eq!(retry(&[200, 100], 259), Retry::At(260));
        assert_eq!(retry(&[1, 2, 3, 4, 5], 1_000_000), Retry::GivenUp(5));
    }

    #[test]
    fn refusals_in_a_row_hold_an_instance_back() {
        let hold_of = |launches: &[Launch], now| {
            hold(&launches.iter().collect::<Vec<_>>(), "now", now).map(|hold| (hold.until, hold.reason))
        };
        let good = launch("a", 1);
        assert_eq!(hold_of(&[failed(100, None)], 129), Some((Some(130), "no".to_owned())));
        assert_eq!(hold_of(&[failed(100, None)], 130), None);
        assert_eq!(hold_of(&[failed(10, None), failed(100, None)], 159), Some((Some(160), "no".to_owned())));
        assert_eq!(hold_of(&[failed(100, None), good.clone()], 101), None);
        assert_eq!(hold_of(&[failed(100, Some("now"))], 1_000_000), Some((None, "no".to_owned())));
        assert_eq!(hold_of(&[failed(100, Some("before"))], 101), None);
    }
}
