//! Which process something belongs to, and whether it still lives: by pid and start time.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use meta_host::files::read_private;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::state::Owner;

/// In a directory of a job: the gitlab-runner process that it belongs to.
pub(crate) const FILE: &str = "owner.json";

/// The process `pid` of this host.
pub(crate) fn of(pid: i32) -> Owner {
    Owner { pid, started: start_time(pid).unwrap_or(0) }
}

/// Writes who the owner is to `path`. Not synced, since every stage pays for it: after a crash of the node no owner is
/// better than a late job.
pub(crate) fn write(path: &Path, owner: &Owner) -> io::Result<()> {
    let text = serde_json::to_string(owner).expect("an owner has only numbers");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// What [`write`] wrote. `None`: there is none, or half of one.
pub(crate) fn read(path: &Path) -> Option<Owner> {
    serde_json::from_str(&read_private(path).ok()?).ok()
}

/// Kills the process, if it is still that one, and waits for its end, but not for ever.
pub(crate) fn kill(owner: &Owner) {
    let Some(pid) = Pid::from_raw(owner.pid) else { return };
    // The descriptor first: from then on it is this process that is looked at, and no later one of its number.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if is_alive(owner) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
        let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(Duration::from_secs(5)).unwrap_or(PollTimeout::ZERO);
        // One that does not end is stuck in the kernel; what it leaves is found by the next job.
        let _ = poll(&mut ended, limit);
    }
}

/// As [`meta_host::start_time`]; a process that has ended and that its parent has not taken note of yet has none, nor has it
/// namespaces.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    meta_host::start_time::start_time(u32::try_from(pid).ok()?)
}

/// Whether the process that made a job is still there.
pub(crate) fn is_alive(owner: &Owner) -> bool {
    start_time(owner.pid) == Some(owner.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process that ends")]
    fn who_has_ended_does_not_live_though_nobody_waited() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = of(i32::try_from(child.id()).unwrap());
        assert!(is_alive(&owner));
        kill(&owner);
        assert!(!is_alive(&owner));
        child.wait().unwrap();
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to be killed")]
    fn a_process_is_killed_by_its_start_time_only() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = of(i32::try_from(child.id()).unwrap());
        kill(&Owner { started: owner.started + 1, ..owner });
        assert!(child.try_wait().unwrap().is_none());
        kill(&owner);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn half_an_owner_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(read(&path), None);
        let owner = Owner { pid: 1, started: 2 };
        write(&path, &owner).unwrap();
        assert_eq!(read(&path), Some(owner));
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap().write_all(b"{").unwrap();
        assert_eq!(read(&path), None);
    }

    #[test]
    fn this_process_lives_and_an_older_one_of_its_pid_does_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(is_alive(&Owner { pid, started }));
        assert!(!is_alive(&Owner { pid, started: started + 1 }));
    }
}
