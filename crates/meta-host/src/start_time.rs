//! Tells processes apart that have had the same pid.

use std::fs;

/// Start time of a living process in clock ticks since boot, field 22 of `/proc/PID/stat` (proc_pid_stat(5)). One that has
/// ended has none, also when its parent has not noticed yet.
pub fn start_time(pid: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<u64> {
    // Field 2 is the program's name in parentheses, which may hold spaces and parentheses itself.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_program_names_do_not_shift_the_fields() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
        assert_eq!(parse(stat), Some(98765));
        assert_eq!(parse(&stat.replace(" S ", " Z ")), None);
    }
}
