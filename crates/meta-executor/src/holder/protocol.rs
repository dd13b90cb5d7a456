//! What `prepare` and the holder tell each other: a line of JSON each.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::network::OwnNetwork;
use crate::pod::spec::PodSpec;

/// The first line: what the pod is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeeperSpec {
    pub(crate) hostname: String,
    /// `None`: the host's network.
    pub(crate) network: Option<OwnNetwork>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Start(Box<ServiceSpec>),
    /// `prepare` is done.
    Stay,
}

/// A service to be started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServiceSpec {
    /// Its number among the job's services.
    pub(crate) index: usize,
    pub(crate) pod: PodSpec,
    /// The file that gets what it writes.
    pub(crate) log: PathBuf,
    /// Where it will listen.
    pub(crate) address: Ipv4Addr,
    /// Any of these makes it ready. Where services share a network, all of them must be free.
    pub(crate) ports: Vec<u16>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The user namespace is there; its id maps may be written.
    Unshared,
    /// The host's number of the pod's PID 1.
    Keeper { pid: i32 },
    /// The network is there.
    Up { own_addresses: bool },
    /// There is no pod.
    Failed { message: String },
    /// The service's first process runs. Each that was asked for is either this, or ended, or refused.
    Started { index: usize },
    /// The service accepts connections.
    Ready { index: usize },
    /// The service ended, with 128 + signal number for a death by signal.
    Ended { index: usize, code: i32 },
    /// The service could not be started.
    Refused { index: usize, reason: Refusal },
}

/// Why a service is not started.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// Another process of the node listens there.
    PortTaken(u16),
    /// Its image has no such program; docker's daemon does not start such a container either.
    NoCommand,
    Other(String),
}
