//! Times as docker writes them in front of log lines: `2026-01-31T08:05:00.123456789Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `time` in UTC, RFC 3339 with nanoseconds. A clock before 1970 counts as 1970.
pub(crate) fn text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Year, month and day of a number of days after 1970-01-01, in years that begin in March (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms"): then the odd day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(text(UNIX_EPOCH + Duration::new(seconds, 5)), expected);
        };
        check(0, "1970-01-01T00:00:00.000000005Z");
        check(951_782_399, "2000-02-28T23:59:59.000000005Z");
        check(951_782_400, "2000-02-29T00:00:00.000000005Z");
        check(1_735_689_599, "2024-12-31T23:59:59.000000005Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000000005Z");
    }
}
