//! Which failures are worth another try, and when.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::ApiError;
use crate::error::ErrorKind;

/// Requests that are sent at most for one call.
pub(crate) const ATTEMPTS: u32 = 4;

/// Longer waits are left to the caller: a cron job that sleeps for minutes helps nobody.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a repetition of the request can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing that the first one did not do.
    Harmless,
    /// Make a second thing, if only the answer to the first request was lost.
    Doubles,
}

/// How long to wait before the next try, or None if there should be none. `attempt` counts from 1, `chance` is in 0..1.
pub(crate) fn wait_before_retry(
    error: &ApiError,
    repeat: Repeat,
    attempt: u32,
    chance: f64,
) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    // 0.5 s, 1 s, 2 s, each with up to as much again, so that many clients do not come back together.
    let backoff = Duration::from_millis(500 << (attempt - 1)).mul_f64(1.0 + chance);
    // 409: somebody else was changing the same thing just then.
    let conflict = error.kind == ErrorKind::Refused && error.status == Some(409);
    let was_not_processed =
        conflict || matches!(error.kind, ErrorKind::RateLimited { .. } | ErrorKind::ConnectionRefused);
    if !was_not_processed && repeat == Repeat::Doubles {
        return None;
    }
    match (&error.kind, error.status) {
        (ErrorKind::RateLimited { retry_after_s }, _) => {
            let asked = Duration::from_secs(retry_after_s.unwrap_or(0));
            (asked <= LONGEST_WAIT).then(|| asked + backoff)
        }
        (ErrorKind::ConnectionRefused | ErrorKind::Interrupted, _) => Some(backoff),
        (ErrorKind::Refused, _) => conflict.then_some(backoff),
        (ErrorKind::Server, Some(502..=504)) => Some(backoff),
        // A success with half a body.
        (ErrorKind::NotGitLab, Some(200..=299)) => Some(backoff),
        _ => None,
    }
}

/// A number in 0..1 that differs from process to process and from call to call.
pub(crate) fn chance() -> f64 {
    // RandomState is seeded by the operating system; 53 bits fill a f64.
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, status: Option<u16>) -> ApiError {
        let url = "http://x".to_owned();
        ApiError { method: "GET", url, scope: "read_api", status, body: String::new(), kind, source: None }
    }

    fn wait_ms(kind: ErrorKind, status: Option<u16>, repeat: Repeat, attempt: u32) -> Option<u128> {
        wait_before_retry(&error(kind, status), repeat, attempt, 0.5).map(|wait| wait.as_millis())
    }

    #[test]
    fn waits_grow_and_end() {
        let waits = |attempt| wait_ms(ErrorKind::Server, Some(503), Repeat::Harmless, attempt);
        assert_eq!([waits(1), waits(2), waits(3), waits(4)], [Some(750), Some(1500), Some(3000), None]);
    }

    #[test]
    fn retry_after_is_honoured_unless_it_is_too_long() {
        let limited = |seconds| ErrorKind::RateLimited { retry_after_s: seconds };
        assert_eq!(wait_ms(limited(Some(7)), Some(429), Repeat::Doubles, 1), Some(7750));
        assert_eq!(wait_ms(limited(None), Some(429), Repeat::Doubles, 1), Some(750));
        assert_eq!(wait_ms(limited(Some(61)), Some(429), Repeat::Harmless, 1), None);
    }

    #[test]
    fn what_may_have_had_an_effect_is_not_doubled() {
        assert_eq!(wait_ms(ErrorKind::Interrupted, None, Repeat::Doubles, 1), None);
        assert_eq!(wait_ms(ErrorKind::Server, Some(502), Repeat::Doubles, 1), None);
        assert_eq!(wait_ms(ErrorKind::ConnectionRefused, None, Repeat::Doubles, 1), Some(750));
        assert_eq!(wait_ms(ErrorKind::Refused, Some(409), Repeat::Doubles, 1), Some(750));
        assert_eq!(wait_ms(ErrorKind::Interrupted, None, Repeat::Harmless, 1), Some(750));
    }

    #[test]
    fn what_cannot_help_is_not_tried() {
        for (kind, status) in [
            (ErrorKind::Unauthorized, 401),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Refused, 400),
            (ErrorKind::Server, 500),
            (ErrorKind::NotGitLab, 404),
        ] {
            assert_eq!(wait_ms(kind, Some(status), Repeat::Harmless, 1), None, "{status}");
        }
        assert_eq!(wait_ms(ErrorKind::Certificate, None, Repeat::Harmless, 1), None);
    }

    #[test]
    fn chance_varies_within_its_range() {
        let chances: Vec<f64> = (0..8).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance != chances[0]));
    }
}
