//! The holder: a process that keeps a job's pod between gitlab-runner's calls, with its network and its services.
//!
//! ```text
//! prepare   (driver)        starts the holder, asks for services, tells it to stay, ends
//!   guard   (host's pids)   `guard::main`: makes the user namespace, ends the pod when gitlab-runner ends
//!     keeper (PID 1)        `keeper::main`: makes the network, starts, watches and asks services, reads their logs
//!       pasta, services     every service is a pod of its own inside
//! run       (driver)        joins the user and network namespace of the keeper
//! cleanup   (driver)        kills the keeper
//! ```
//!
//! Everything ends with the keeper, because it is PID 1. The keeper ends when its guard does, and when `prepare` ends before
//! it said that the keeper may stay. The guard ends when gitlab-runner does: it has no open file of gitlab-runner's, so
//! that nothing waits for it, and no session in common, so that no signal finds it.

pub(crate) mod guard;
pub(crate) mod keeper;
pub(crate) mod open;
pub(crate) mod protocol;
pub(crate) mod service;

use std::fs;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use meta_host::files::{read_private, write_transient};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getgid, getuid};
use serde::{Deserialize, Serialize};

use crate::context::JobPaths;
use crate::failure::StageFailure;
use crate::owner;
use crate::pod::link::Link;
use crate::pod::mapping::write_maps;
use crate::pod::spec::Mapping;
use crate::pod::{PodError, doing};
use crate::state::Owner;
use protocol::{Answer, KeeperSpec, Request};

/// A running holder, as `prepare` has it. Dropping it ends the pod, unless [`Holder::stay`] was called.
#[derive(Debug)]
pub(crate) struct Holder {
    link: Link,
    pub(crate) keeper: Owner,
    /// Whether each service has an address of its own.
    pub(crate) own_addresses: bool,
}

/// `holder.json` in the job's directory, written before there is anything to clean up.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HolderRecord {
    /// PID 1 of the pod, as the host counts.
    pub(crate) keeper: Owner,
    /// Whether scripts join the keeper's network.
    pub(crate) has_network: bool,
}

impl Holder {
    /// Starts a holder for the gitlab-runner process `runner` and waits until its network is there.
    pub(crate) fn start(spec: &KeeperSpec, mapping: Mapping, runner: &Owner) -> Result<Self, PodError> {
        let words = ["holder-guard".to_owned(), runner.pid.to_string(), runner.started.to_string()];
        let mut link = Link::start(&words, Stdio::null(), Stdio::null())?;
        match next(&mut link)? {
            Answer::Unshared => {}
            Answer::Failed { message } => return Err(PodError::Inside { message }),
            _ => return Err(PodError::Silent),
        }
        write_maps(link.child.id(), mapping, getuid().as_raw(), getgid().as_raw())?;
        send(&mut link, b"g")?;
        send(&mut link, &line(spec))?;
        // The guard says who the keeper is, the keeper that it is ready: either may be first.
        let (mut keeper, mut own_addresses) = (None, None);
        loop {
            match next(&mut link)? {
                Answer::Keeper { pid } => {
                    let started = owner::start_time(pid).ok_or(PodError::Silent)?;
                    keeper = Some(Owner { pid, started });
                }
                Answer::Up { own_addresses: addresses } => own_addresses = Some(addresses),
                Answer::Failed { message } => return Err(PodError::Inside { message }),
                _ => return Err(PodError::Silent),
            }
            if let (Some(keeper), Some(own_addresses)) = (&keeper, own_addresses) {
                return Ok(Self { link, keeper: keeper.clone(), own_addresses });
            }
        }
    }

    /// Asks for something. Answers come later.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), PodError> {
        send(&mut self.link, &line(request))
    }

    /// The next answer, or `None` after `limit`, or earlier if `also` can be read.
    pub(crate) fn answer(&mut self, limit: Duration, also: &impl AsFd) -> Result<Option<Answer>, PodError> {
        if !self.link.has_buffered_line() {
            let mut files = [
                PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
                PollFd::new(also.as_fd(), PollFlags::POLLIN),
            ];
            let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
            match poll(&mut files, limit) {
                Ok(_) if files[0].any().unwrap_or(false) => {}
                Ok(_) | Err(nix::errno::Errno::EINTR) => return Ok(None),
                Err(error) => return Err(doing("wait for the pod")(error)),
            }
        }
        next(&mut self.link).map(Some)
    }

    /// Lets the pod live on when this process ends.
    pub(crate) fn stay(mut self) -> Result<(), PodError> {
        self.ask(&Request::Stay)
    }
}

impl HolderRecord {
    pub(crate) fn save(&self, paths: &JobPaths) -> Result<(), StageFailure> {
        let text = serde_json::to_string_pretty(self).expect("a record has only numbers and words");
        write_transient(&paths.holder_file(), text.as_bytes()).map_err(|error| StageFailure::system(&error))
    }

    /// The job's holder, if it has one.
    pub(crate) fn load(paths: &JobPaths) -> Option<Self> {
        serde_json::from_str(&read_private(&paths.holder_file()).ok()?).ok()
    }

    /// Whether the keeper's namespaces are still there. While it ends it has a pid, but no namespaces any more: it still waits
    /// for the ends of its services.
    pub(crate) fn can_be_joined(&self) -> bool {
        owner::is_alive(&self.keeper) && fs::read_link(format!("/proc/{}/ns/net", self.keeper.pid)).is_ok()
    }
}

/// One line of JSON.
fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("a message has only strings and numbers");
    line.push(b'\n');
    line
}

fn send(link: &mut Link, bytes: &[u8]) -> Result<(), PodError> {
    link.send(bytes).map_err(|source| PodError::Namespace { action: "speak to the pod", source })
}

fn next(link: &mut Link) -> Result<Answer, PodError> {
    let line = link.next_line()?.ok_or(PodError::Silent)?;
    serde_json::from_str(&line)
        .map_err(|source| PodError::Namespace { action: "understand the pod", source: source.into() })
}
