//! Seconds since 1970 as a date, and back.

const DAY: u64 = 86_400;

/// Year, month, day, hour, minute, second in UTC. Days after Howard Hinnant's `civil_from_days`.
pub(crate) fn utc(seconds: u64) -> (u64, u8, u8, u8, u8, u8) {
    let (shifted, of_day) = (seconds / DAY + 719_468, seconds % DAY);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    (year, small(month), small(day), small(of_day / 3600), small(of_day / 60 % 60), small(of_day % 60))
}

/// The way back, for dates from 1970 on. Days after the same author's `days_from_civil`.
pub(crate) fn seconds((year, month, day, hour, minute, second): (u64, u8, u8, u8, u8, u8)) -> u64 {
    let year = year - u64::from(month <= 2);
    let day_of_year = (153 * ((u64::from(month) + 9) % 12) + 2) / 5 + u64::from(day) - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    days * DAY + u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(utc(1_709_164_801), (2024, 2, 29, 0, 0, 1));
        assert_eq!(utc(1_445_412_480), (2015, 10, 21, 7, 28, 0));
        for at in [0, 951_782_399, 951_782_400, 1_709_164_801, 4_107_542_399] {
            assert_eq!(seconds(utc(at)), at);
        }
    }
}
