//! When a runner's token is to be replaced, before GitLab lets it expire.
//!
//! gitlab-runner's `run` replaces a token after three quarters of its life (gitlab-runner `commands/multi.go`);
//! `run-single` never does, so we do, by the same rule.

use std::collections::BTreeSet;

use crate::launches::{Launch, Ledger, State};
use crate::name::InstanceName;
use crate::registrations::Registration;
use crate::time;

/// Seconds for which a token is taken to live if nobody wrote down when it was issued. Its last quarter is a week.
const ASSUMED_LIFE_S: u64 = 28 * 24 * 3600;

/// How far the life of a token has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenAge {
    /// It never expires, or not soon.
    Good,
    /// Three quarters are over: it is replaced as soon as no launch is starting.
    Due,
    /// Nine tenths are over: it is replaced even if that costs a launch.
    Urgent,
    /// GitLab refuses it.
    Expired,
}

/// The age of a registration's token at `now` (Unix seconds).
pub fn token_age(registration: &Registration, now: u64) -> TokenAge {
    let Some(end) = registration.token_expires_at.as_deref().and_then(time::parse) else {
        return TokenAge::Good;
    };
    let issued = registration.token_issued_at.as_deref().and_then(time::parse);
    let life = end.saturating_sub(issued.unwrap_or(end.saturating_sub(ASSUMED_LIFE_S)));
    match end.saturating_sub(now) {
        0 => TokenAge::Expired,
        rest if rest <= life / 10 => TokenAge::Urgent,
        rest if rest <= life / 4 => TokenAge::Due,
        _ => TokenAge::Good,
    }
}

/// Instances of which a launch may be about to read gitlab-runner's configuration: one that waits in the queue, one whose
/// submission is not known to have ended, one that began to run within the last `start_grace_s` seconds. A new token would
/// leave it with the old one; so it would one that asks for several jobs, for as long as that runs.
pub fn starting(ledger: &Ledger, start_grace_s: u64, now: u64) -> BTreeSet<InstanceName> {
    let may_ask = |launch: &&Launch| match launch.state {
        State::Submitting | State::Unknown | State::Queued => true,
        State::Running => {
            let since = launch.runs.last().copied().unwrap_or(launch.changed);
            launch.slots > 1 || now.saturating_sub(since) < start_grace_s
        }
        State::Done | State::Lost | State::Failed | State::Cancelled => false,
    };
    ledger.launches.iter().filter(may_ask).map(|launch| launch.instance.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const DAY: u64 = 24 * 3600;

    fn age(issued: Option<&str>, expires: Option<&str>, now: &str) -> TokenAge {
        let registration = Registration {
            id: 1,
            token: Secret::new("glrt-x"),
            token_issued_at: issued.map(str::to_owned),
            token_expires_at: expires.map(str::to_owned),
        };
        token_age(&registration, time::parse(now).unwrap())
    }

    #[test]
    fn a_token_ages() {
        let at = |now| age(Some("2026-01-01"), Some("2026-04-11"), now);
        assert_eq!(at("2026-03-16"), TokenAge::Good);
        assert_eq!(at("2026-03-17"), TokenAge::Due);
        assert_eq!(at("2026-04-01"), TokenAge::Urgent);
        assert_eq!(at("2026-04-11"), TokenAge::Expired);
    }

    #[test]
    fn without_its_beginning_the_last_week_counts() {
        let at = |now| age(None, Some("2026-04-11T00:00:00.000Z"), now);
        assert_eq!([at("2026-04-03"), at("2026-04-04")], [TokenAge::Good, TokenAge::Due]);
        assert_eq!(age(None, None, "2026-04-03"), TokenAge::Good);
        assert_eq!(age(None, Some("soon"), "2026-04-03"), TokenAge::Good);
    }

    #[test]
    fn launches_that_may_read_the_token() {
        let launch = |state: &str, slots: u32, changed: u64| {
            format!(
                r#"{{"id": "5f1c2e9a", "instance": "{state}", "elements": 1, "slots": {slots}, "batch_id": null,
                   "submitted": 0, "changed": {changed}, "state": "{state}", "reason": null, "jobs": []}}"#
            )
        };
        let states = ["submitting", "queued", "unknown", "running", "done", "lost", "failed", "cancelled"];
        let names = |slots, changed| {
            let launches: Vec<String> = states.iter().map(|state| launch(state, slots, changed)).collect();
            let text = format!(r#"{{"version": 1, "launches": [{}]}}"#, launches.join(","));
            let starting = starting(&Ledger::parse(&text).unwrap(), 720, DAY);
            starting.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(1, DAY - 719), ["queued", "running", "submitting", "unknown"]);
        assert_eq!(names(1, DAY - 720), ["queued", "submitting", "unknown"]);
        // It may ask for its next job with the token that it began with.
        assert_eq!(names(5, DAY - 7200), ["queued", "running", "submitting", "unknown"]);
    }
}
