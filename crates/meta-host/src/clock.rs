//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same with all that the clock gives, for time stamps.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn moment() -> SystemTime {
    SystemTime::now()
}
