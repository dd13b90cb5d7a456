//! Moves this process into the bed's namespaces.

use super::state::Holder;
use crate::failure::{During, Failure, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::File;

/// The mount namespace is last: the host's /proc is gone with it.
const NAMESPACES: &[(&str, CloneFlags)] = &[
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Enters all namespaces of the bed. Root and working folder become the bed's `/`; the pid namespace holds for children
/// only. The calling program must have one thread.
pub(super) fn enter(holder: Holder) -> Result<()> {
    let mut files = Vec::new();
    for &(name, flag) in NAMESPACES {
        let path = format!("/proc/{}/ns/{name}", holder.pid);
        files.push((name, flag, File::open(&path).during(|| format!("open `{path}`"))?));
    }
    // The files are open: if it is still the same process now, they are its own.
    if !holder.is_alive() {
        return Err(Failure::new("the bed has just ended"));
    }
    for (name, flag, file) in files {
        setns(file, flag).during(|| format!("enter the bed's {name} namespace"))?;
    }
    Ok(())
}
