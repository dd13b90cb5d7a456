//! Points in time as GitLab writes them, and as seconds since the Unix epoch.

use toml_edit::{Date, Datetime, Offset};

const DAY_S: i64 = 24 * 3600;

/// Unix seconds of `2026-12-31T00:00:00.000Z`, of a time with another offset, or of a date, which begins at midnight UTC.
/// `None` for anything else, and for what lies before the epoch.
pub fn parse(text: &str) -> Option<u64> {
    let moment: Datetime = text.parse().ok()?;
    let of_day = moment.time.map_or(0, |time| {
        i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0))
    });
    let offset = match moment.offset {
        Some(Offset::Custom { minutes }) => i64::from(minutes) * 60,
        Some(Offset::Z) | None => 0,
    };
    u64::try_from(day_number(moment.date?) * DAY_S + of_day - offset).ok()
}

/// The time as GitLab writes it: `2026-12-31T00:00:00Z`.
pub fn format(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / DAY_S.unsigned_abs(), unix_s % DAY_S.unsigned_abs());
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days from the epoch to a date of the Gregorian calendar. Years begin with March here, so that the leap day is the last.
fn day_number(date: Date) -> i64 {
    let (year, month) = (i64::from(date.year) - i64::from(date.month <= 2), i64::from(date.month));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day) - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Year, month and day of a day that is `days` after the epoch: the same calculation backwards, by eras of 400 years.
fn date_of(days: u64) -> (u64, u64, u64) {
    let since_march_0 = days + 719_468;
    let (era, of_era) = (since_march_0 / 146_097, since_march_0 % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_gitlab_writes() {
        assert_eq!(parse("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(parse("2026-11-23T23:59:03.123Z"), Some(1_795_478_343));
        assert_eq!(parse("2026-11-24T00:59:03+01:00"), Some(1_795_478_343));
        assert_eq!(parse("2024-02-29"), Some(1_709_164_800));
        for text in ["", "tomorrow", "23:59:03", "2026-02-30", "1969-12-31T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(1_795_478_343), "2026-11-23T23:59:03Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0..250_000_000_000_u64) {
            prop_assert_eq!(parse(&format(seconds)), Some(seconds));
        }

        #[test]
        fn days_follow_each_other(day in 0..2_900_000_u64) {
            let (a, b) = (date_of(day), date_of(day + 1));
            prop_assert!(b.2 == a.2 + 1 && (a.0, a.1) == (b.0, b.1) || b.2 == 1 && a.2 >= 28);
        }
    }
}
