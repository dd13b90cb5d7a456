//! Which process holds the bed.

use super::place;
use crate::failure::{During, Failure, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};

/// A process, told from a later one with the same id by its start time (clock ticks since boot).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Holder {
    pub(super) pid: i32,
    started: u64,
}

impl Holder {
    /// The running process with this id.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        (state != "Z").then_some(Self { pid, started })
    }

    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// The holder that runs now.
pub(super) fn running() -> Option<Holder> {
    parse(&fs::read_to_string(place::holder()).ok()?).filter(|holder| holder.is_alive())
}

/// The holder that runs now, or a failure that says how to start it.
pub(super) fn require() -> Result<Holder> {
    running().ok_or_else(|| Failure::new("the bed does not run").with_hint("`cargo xtask bed up` starts it"))
}

pub(super) fn record(holder: Holder) -> Result<()> {
    let path = place::holder();
    fs::write(&path, format!("{} {}\n", holder.pid, holder.started))
        .during(|| format!("write `{}`", path.display()))
}

pub(super) fn forget() -> Result<()> {
    match fs::remove_file(place::holder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove `{}`", place::holder().display()))
        }
        _ => Ok(()),
    }
}

/// Keeps a second `up` or `down` waiting until the value is dropped.
pub(super) fn lock() -> Result<Flock<File>> {
    let path = place::lock();
    fs::create_dir_all(path.parent().unwrap_or(&path)).during(|| format!("make `{}`", path.display()))?;
    let file = File::create(&path).during(|| format!("create `{}`", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .during(|| format!("lock `{}`", path.display()))
}

fn parse(line: &str) -> Option<Holder> {
    let (pid, started) = line.trim().split_once(' ')?;
    Some(Holder { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

/// State letter and start time from `/proc/PID/stat`; the name in brackets may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(&str, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 22 of proc_pid_stat(5); the state is field 3.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Holder, parse, parse_stat};

    #[test]
    fn start_time_is_found_behind_an_odd_name() {
        let stat = "42 (a) (b c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        assert_eq!(parse_stat(stat), Some(("S", 987_654)));
    }

    #[test]
    fn a_process_with_another_start_time_is_not_the_holder() {
        let own = Holder::of(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!Holder { started: own.started + 1, ..own }.is_alive());
    }

    #[test]
    fn record_is_read_back() {
        assert_eq!(parse("42 987\n"), Some(Holder { pid: 42, started: 987 }));
        assert_eq!(parse("42\n"), None);
    }
}
