//! The pod's outer process: makes the namespaces, or joins those of a holder, becomes root in them and starts the init.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::read;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::descriptors::close_others;
use super::link::inherit;
use super::report::{Event, report};
use super::{PodError, doing};
use crate::failure::chain;
use crate::network::plumbing;

/// What every pod has of its own, beside the user namespace, the network and the pids.
const OWN: CloneFlags =
    CloneFlags::CLONE_NEWNS.union(CloneFlags::CLONE_NEWIPC).union(CloneFlags::CLONE_NEWUTS);

/// What a pod is inside of.
#[derive(Debug)]
pub(crate) enum Nesting {
    /// In a new user namespace, in the host's network.
    Alone,
    /// In the user namespace and the network of the holder whose PID 1 has this number.
    WithHolder(i32),
    /// A service: this process is in the holder's user namespace already. With a network of its own if there is one.
    InHolder(Option<ServiceNetwork>),
}

/// What a service needs to set up its network.
#[derive(Debug)]
pub(crate) struct ServiceNetwork {
    /// The program.
    pub(crate) ip: PathBuf,
    pub(crate) address: Ipv4Addr,
}

/// Body of `meta-executor pod-outer`, `pod-join` and `service-outer`.
pub(crate) fn main(nesting: &Nesting, control: OwnedFd, reports: OwnedFd) -> ExitCode {
    match enter(nesting, &control, &reports) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&reports, &Event::Failed(chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn enter(nesting: &Nesting, control: &OwnedFd, reports: &OwnedFd) -> Result<(), PodError> {
    close_others(&[control, reports])?;
    match nesting {
        Nesting::Alone => unshare(OWN | CloneFlags::CLONE_NEWUSER)
            .map_err(doing("make user, mount, ipc and uts namespaces"))?,
        Nesting::WithHolder(keeper) => {
            join(*keeper)?;
            unshare(OWN).map_err(doing("make mount, ipc and uts namespaces"))?;
        }
        Nesting::InHolder(network) => {
            let net = if network.is_some() { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
            unshare(OWN | net).map_err(doing("make a service's namespaces"))?;
        }
    }
    report(reports, &Event::Unshared);
    // The go-ahead comes when the id maps are written and the network is connected; an empty read means that the other side
    // is gone.
    let mut go_ahead = [0_u8];
    match read(control, &mut go_ahead) {
        Ok(1) => {}
        Ok(_) => return Err(PodError::Silent),
        Err(source) => {
            return Err(PodError::Namespace { action: "wait for the id maps", source: source.into() });
        }
    }
    become_root()?;
    // The kernel forgets it when ids change, so not earlier.
    end_with_parent()?;
    if let Nesting::InHolder(Some(network)) = nesting {
        plumbing::configure_service(&network.ip, network.address)?;
        report(reports, &Event::Connected);
    }
    // Last: the first child from here on is the init, and its end is the end of the namespace.
    unshare(CloneFlags::CLONE_NEWPID).map_err(doing("make a pid namespace"))?;
    start_init(control, reports)
}

/// Joins the namespaces that the holder shares with the job's scripts.
fn join(keeper: i32) -> Result<(), PodError> {
    let directory = Path::new("/proc").join(keeper.to_string()).join("ns");
    let open = |name: &str| {
        let path = directory.join(name);
        File::open(&path).map_err(|source| PodError::Io { action: "open", path, source })
    };
    // Both are opened first: inside, the host's /proc shows neither.
    let (user, net) = (open("user")?, open("net")?);
    setns(user, CloneFlags::CLONE_NEWUSER).map_err(doing("join the job's user namespace"))?;
    setns(net, CloneFlags::CLONE_NEWNET).map_err(doing("join the job's network"))
}

/// Takes the ids of root in this process's user namespace, whose maps are written.
pub(crate) fn become_root() -> Result<(), PodError> {
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).map_err(doing("become group 0"))?;
    setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).map_err(doing("become uid 0"))?;
    // Refused where only root is mapped (user_namespaces(7)); then the groups stay, and show as nobody's.
    let _ = setgroups(&[]);
    Ok(())
}

/// Has this process killed when the one that started it ends.
pub(super) fn end_with_parent() -> Result<(), PodError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|source| PodError::Namespace { action: "end with the driver", source: source.into() })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the init inherits two pipes and nothing else, which CommandLine cannot say"
)]
fn start_init(control: &OwnedFd, reports: &OwnedFd) -> Result<(), PodError> {
    for inherited in [control, reports] {
        inherit(inherited)?;
    }
    let status = Command::new("/proc/self/exe")
        // It is what `ps` shows to the job as process 1.
        .arg0("meta-executor")
        .arg("pod-init")
        .args([control, reports].map(|pipe| pipe.as_raw_fd().to_string()))
        .env_clear()
        .status()
        .map_err(|source| PodError::Start { program: "/proc/self/exe".to_owned(), source })?;
    log::debug!("the pod's init ended with {status}");
    Ok(())
}
