//! The processes below another one: where no PID namespace holds them together (isolation level C), and where Apptainer's is
//! looked for.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// How long killed processes have to be gone. What is stuck in the kernel for longer, nobody can end.
const LIMIT: Duration = Duration::from_secs(5);

/// A process and the one that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
}

/// All processes below this one, the nearest first. Those that lose their parent become our children (prctl(2),
/// `PR_SET_CHILD_SUBREAPER`), so none is missed for long.
pub(super) fn list() -> Vec<Process> {
    below(getpid().as_raw(), &all())
}

/// The pids of those that `parent` has started.
pub(super) fn children_of(parent: i32) -> Vec<i32> {
    all().into_iter().filter(|process| process.parent == parent).map(|process| process.pid).collect()
}

/// All processes of this PID namespace.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Process { pid, parent: parent(&stat)? })
    })
    .collect()
}

/// Kills them all, and those that they start meanwhile.
pub(super) fn kill_all() {
    let start = Instant::now();
    loop {
        let processes = list();
        if processes.is_empty() || start.elapsed() > LIMIT {
            return;
        }
        for process in processes {
            // One that has ended by now needs no signal.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        sleep(Duration::from_millis(10));
    }
}

fn below(top: i32, processes: &[Process]) -> Vec<Process> {
    let mut found = vec![Process { pid: top, parent: top }];
    let mut next = 0;
    while let Some(above) = found.get(next).map(|process| process.pid) {
        found.extend(processes.iter().filter(|process| process.parent == above));
        next += 1;
    }
    found.split_off(1)
}

/// The parent's pid in `/proc/PID/stat` (proc_pid_stat(5), field 4).
fn parent(stat: &str) -> Option<i32> {
    // The program's name, in parentheses, may hold blanks and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_is_found() {
        let pairs = [(2, 1), (3, 2), (9, 8), (4, 3), (5, 1), (1, 0)];
        let processes = pairs.map(|(pid, parent)| Process { pid, parent });
        let pids = |top| below(top, &processes).iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(pids(1), [2, 5, 3, 4]);
        assert_eq!(pids(4), [0; 0]);
        assert_eq!(parent("42 (a) b) S 7 42 42 0 -1"), Some(7));
    }
}
