//! The injectable clock: real time plus an offset, or frozen.
//!
//! Everything that GitLab does "after an hour" is decided with the value of [`Clock::now`], so a test moves a whole
//! day in one call.

#![expect(clippy::disallowed_methods, reason = "this is the one place of the stand-in that reads the time")]

use jiff::{SignedDuration, Timestamp};

/// A point in time of the played server, UTC.
pub(crate) type Time = Timestamp;

/// Where the played server's time comes from.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    offset: SignedDuration,
    frozen: Option<Time>,
}

impl Clock {
    /// A clock that shows the machine's time, to the millisecond.
    pub(crate) fn real() -> Self {
        Self { offset: SignedDuration::ZERO, frozen: None }
    }

    /// The time that the played server believes in.
    pub(crate) fn now(&self) -> Time {
        self.frozen.unwrap_or_else(machine_time) + self.offset
    }

    /// Moves the clock by `by`; it never goes back, so a negative span is ignored.
    pub(crate) fn advance(&mut self, by: SignedDuration) {
        self.offset += by.max(SignedDuration::ZERO);
    }

    /// Stops the clock where it is, so that only [`Clock::advance`] moves it.
    pub(crate) fn freeze(&mut self) {
        self.frozen.get_or_insert_with(machine_time);
    }
}

/// `time` as GitLab prints it in JSON: `2026-11-23T23:59:03.123Z`.
pub(crate) fn iso(time: Time) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The calendar date of `time`: `2026-11-23`.
pub(crate) fn date(time: Time) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// Seconds from `from` to `to`, with milliseconds; never negative.
pub(crate) fn seconds_between(from: Time, to: Time) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// A span of whole seconds.
pub(crate) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn machine_time() -> Time {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_when_told() {
        let mut clock = Clock::real();
        clock.freeze();
        let before = clock.now();
        clock.advance(seconds(3600));
        clock.advance(seconds(-10));
        assert_eq!(seconds_between(before, clock.now()), 3600.0);
    }

    #[test]
    fn times_are_printed_as_gitlab_prints_them() {
        let time = Timestamp::from_millisecond(1_795_478_343_123).unwrap();
        assert_eq!(iso(time), "2026-11-23T23:59:03.123Z");
        assert_eq!(date(time), "2026-11-23");
    }
}
