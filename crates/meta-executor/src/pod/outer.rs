//! The pod's outer process: makes the namespaces, becomes root in them and starts the init.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use rustix::io::{FdFlags, fcntl_setfd, read};

use super::descriptors::close_others;
use super::report::{Event, report};
use super::{PodError, doing};

/// Body of `meta-executor pod-outer CONTROL REPORT`.
pub(crate) fn main(control: OwnedFd, reports: OwnedFd) -> ExitCode {
    match enter(&control, &reports) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&reports, &Event::Failed(error.chain()));
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the init inherits two pipes and nothing else, which CommandLine cannot say"
)]
fn enter(control: &OwnedFd, reports: &OwnedFd) -> Result<(), PodError> {
    close_others(&[control, reports])?;
    let namespaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).map_err(doing("make user, mount, pid, ipc and uts namespaces"))?;
    report(reports, &Event::Unshared);
    // The go-ahead comes when the id maps are written; an empty read means that the driver is gone.
    let mut go_ahead = [0_u8];
    match read(control, &mut go_ahead) {
        Ok(1) => {}
        Ok(_) => return Err(PodError::Silent),
        Err(source) => {
            return Err(PodError::Namespace { action: "wait for the id maps", source: source.into() });
        }
    }
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).map_err(doing("become group 0"))?;
    setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).map_err(doing("become uid 0"))?;
    // Refused where only root is mapped (user_namespaces(7)); then the groups stay, and show as nobody's.
    let _ = setgroups(&[]);
    for inherited in [control, reports] {
        fcntl_setfd(inherited, FdFlags::empty()).map_err(|source| PodError::Namespace {
            action: "pass a pipe to the init",
            source: source.into(),
        })?;
    }
    let status = Command::new("/proc/self/exe")
        .arg("pod-init")
        .args([control, reports].map(|pipe| pipe.as_raw_fd().to_string()))
        .env_clear()
        .status()
        .map_err(|source| PodError::Start { program: "/proc/self/exe".to_owned(), source })?;
    log::debug!("the pod's init ended with {status}");
    Ok(())
}
