//! Tells processes apart that have had the same pid.

use std::fs;

/// Start time of a living process in clock ticks since boot, field 22 of `/proc/PID/stat` (proc(5)).
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2 is the command in parentheses, which may hold spaces and parentheses itself.
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace();
    // A zombie has ended; only its parent has not noticed.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
