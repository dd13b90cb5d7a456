//! Whether a process still lives, by pid and start time.

use std::fs;

use crate::state::Owner;

/// Start time of a process in clock ticks after boot (proc_pid_stat(5), field 22).
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether the process that made a job is still there.
pub(crate) fn is_alive(owner: &Owner) -> bool {
    start_time(owner.pid) == Some(owner.started)
}

fn parse_start_time(stat: &str) -> Option<u64> {
    // The program's name, in parentheses, may hold blanks and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_program_names_do_not_shift_the_fields() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
        assert_eq!(parse_start_time(stat), Some(98765));
    }

    #[test]
    fn this_process_lives_and_an_older_one_of_its_pid_does_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(is_alive(&Owner { pid, started }));
        assert!(!is_alive(&Owner { pid, started: started + 1 }));
    }
}
