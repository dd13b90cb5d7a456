//! The holder's outer process. It counts pids as the host does, so it can watch gitlab-runner.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, setsid};
use rustix::io::read;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::keeper;
use super::protocol::Answer;
use crate::failure::chain;
use crate::owner;
use crate::pod::descriptors::close_others;
use crate::pod::link::{inherit, pipe};
use crate::pod::outer::become_root;
use crate::pod::{PodError, doing, on_path};
use crate::state::Owner;

/// Body of `meta-executor holder-guard RUNNER-PID RUNNER-START CONTROL REPORTS`.
pub(crate) fn main(runner: &Owner, control: OwnedFd, reports: OwnedFd) -> ExitCode {
    match run(runner, control, &reports) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            keeper::report(&reports, &Answer::Failed { message: chain(&error) });
            ExitCode::FAILURE
        }
    }
}

fn run(runner: &Owner, control: OwnedFd, reports: &OwnedFd) -> Result<(), PodError> {
    close_others(&[&control, reports])?;
    setsid().map_err(doing("make a session"))?;
    // gitlab-runner's directory, which it removes.
    chdir("/").map_err(on_path("enter", "/"))?;
    let runner_ended = watch(runner.pid)?;
    if !owner::is_alive(runner) {
        return Err(PodError::Silent);
    }
    let namespaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).map_err(doing("make user, mount, pid, ipc and uts namespaces"))?;
    keeper::report(reports, &Answer::Unshared);
    match read(&control, &mut [0_u8]) {
        Ok(1) => {}
        Ok(_) => return Err(PodError::Silent),
        Err(source) => {
            return Err(PodError::Namespace { action: "wait for the id maps", source: source.into() });
        }
    }
    become_root()?;
    let (lifeline, _held) = pipe()?;
    let mut keeper = start_keeper(&control, reports, &lifeline)?;
    let pid = i32::try_from(keeper.id()).unwrap_or_default();
    keeper::report(reports, &Answer::Keeper { pid });
    // Kept open here, these would hide from the keeper and from prepare that the other one is gone.
    drop((control, lifeline));
    let keeper_ended = watch(pid)?;
    let mut files = [
        PollFd::new(runner_ended.as_fd(), PollFlags::POLLIN),
        PollFd::new(keeper_ended.as_fd(), PollFlags::POLLIN),
    ];
    while let Err(nix::errno::Errno::EINTR) = poll(&mut files, PollTimeout::NONE) {}
    let _ = keeper.kill();
    let _ = keeper.wait();
    Ok(())
}

fn watch(pid: i32) -> Result<OwnedFd, PodError> {
    let gone = || PodError::Silent;
    pidfd_open(Pid::from_raw(pid).ok_or_else(gone)?, PidfdFlags::empty())
        .map_err(|source| PodError::Namespace { action: "watch a process", source: source.into() })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the keeper inherits three pipes and nothing else, which CommandLine cannot say"
)]
fn start_keeper(control: &OwnedFd, reports: &OwnedFd, lifeline: &OwnedFd) -> Result<Child, PodError> {
    let pipes = [control, reports, lifeline];
    for pipe in pipes {
        inherit(pipe)?;
    }
    Command::new("/proc/self/exe")
        .arg("holder-keeper")
        .args(pipes.map(|pipe| pipe.as_raw_fd().to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| PodError::Start { program: "/proc/self/exe".to_owned(), source })
}
