//! Which failures are worth another try, and when.

use std::time::{Duration, UNIX_EPOCH};

use crate::ApiError;
use crate::error::ErrorKind;

/// Requests that are sent at most for one call.
pub(crate) const ATTEMPTS: u32 = 4;

/// Longer waits are left to the caller: a cron job that sleeps for minutes helps nobody.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// More is not believed, in seconds: who says so may be a proxy with a wrong clock.
const MOST_ASKED_S: u64 = 3600;

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
        conflict || matches!(error.kind, ErrorKind::RateLimited | ErrorKind::ConnectionRefused);
    if !was_not_processed && repeat == Repeat::Doubles {
        return None;
    }
    let may_help = match (&error.kind, error.status) {
        (ErrorKind::RateLimited | ErrorKind::ConnectionRefused | ErrorKind::Interrupted, _) => true,
        (ErrorKind::Refused, _) => conflict,
        (ErrorKind::Server, Some(502..=504)) => true,
        // A success with half a body.
        (ErrorKind::NotGitLab, Some(200..=299)) => true,
        _ => false,
    };
    let asked = Duration::from_secs(error.retry_after_s.unwrap_or(0));
    (may_help && asked <= LONGEST_WAIT).then(|| asked + backoff)
}

/// The seconds of a `Retry-After` header (RFC 9110, 10.2.3): a number, or a date, at most an hour. `now` is in Unix seconds.
pub(crate) fn retry_after(header: &str, now: u64) -> Option<u64> {
    let text = header.trim();
    let seconds = if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        date.as_secs().saturating_sub(now)
    } else {
        text.parse().unwrap_or(u64::MAX)
    };
    Some(seconds.min(MOST_ASKED_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, status: Option<u16>) -> ApiError {
        let url = "http://x".to_owned();
        let (method, body) = ("GET", String::new());
        ApiError { method, url, scope: "read_api", status, body, kind, retry_after_s: None, source: None }
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
        let wait = |kind, status, retry_after_s| {
            let error = ApiError { retry_after_s, ..error(kind, Some(status)) };
            wait_before_retry(&error, Repeat::Harmless, 1, 0.5).map(|wait| wait.as_millis())
        };
        assert_eq!(wait(ErrorKind::RateLimited, 429, Some(7)), Some(7750));
        assert_eq!(wait(ErrorKind::RateLimited, 429, None), Some(750));
        assert_eq!(wait(ErrorKind::RateLimited, 429, Some(61)), None);
        assert_eq!(wait(ErrorKind::Server, 503, Some(7)), Some(7750));
        assert_eq!(wait(ErrorKind::Server, 503, Some(61)), None);
        assert_eq!(wait(ErrorKind::Server, 500, Some(7)), None);
        assert_eq!(wait_ms(ErrorKind::RateLimited, Some(429), Repeat::Doubles, 1), Some(750));
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let read = |text| retry_after(text, 1_795_478_343);
        assert_eq!(read(" 120 "), Some(120));
        assert_eq!(read("Tue, 24 Nov 2026 00:00:03 GMT"), Some(60));
        assert_eq!(read("Mon, 23 Nov 2026 00:00:03 GMT"), Some(0));
        assert_eq!(read("99999999999999999999999"), Some(3600));
        assert_eq!(read("Sun, 24 Nov 2126 00:00:03 GMT"), Some(3600));
        for text in ["", "-1", "1.5", "soon"] {
            assert_eq!(read(text), None, "{text}");
        }
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
}
