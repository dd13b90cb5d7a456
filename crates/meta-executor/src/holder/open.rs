//! Gives a job its network and, if it needs one, its holder.

use std::fs;

use nix::unistd::getppid;

use super::protocol::KeeperSpec;
use super::{Holder, HolderRecord};
use crate::context::Context;
use crate::directories::write_for_all;
use crate::failure::{StageFailure, chain};
use crate::job::Job;
use crate::network::{self, Choice, hosts};
use crate::node::Node;
use crate::owner;
use crate::pod::PodError;
use crate::pod::spec::Mapping;

/// What a job got.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) holder: Option<Holder>,
    /// The network's name and why it is this one, for the job log.
    pub(crate) network: String,
}

/// Chooses the network and starts a holder, which has written its record, where there are services or the network is the job's
/// own.
pub(crate) fn open(
    context: &Context,
    job: &Job,
    node: &Node,
    hostname: &str,
    has_services: bool,
) -> Result<Opened, StageFailure> {
    let wanted = context.settings.network;
    let has_namespaces = node.mapping != Mapping::Unmapped;
    if has_services && !has_namespaces {
        return Err(StageFailure::job(
            "this node cannot start services: it gives no user namespaces (isolation level C)",
            "start the server in `script:`, or use a runner whose nodes have isolation level A or B",
        ));
    }
    let mut choice = if has_namespaces {
        network::choose(wanted, job, has_services, |name| context.environment.find_program(name))
    } else {
        network::missing(wanted, "it has no user namespaces (isolation level C)")
    };
    let start = |network| start(context, node, hostname, network);
    if let Choice::Own(own) = &choice {
        match start(Some(own.clone())) {
            Ok(holder) => {
                write_resolv_conf(context)?;
                let addresses = match (has_services, holder.own_addresses) {
                    (true, true) => ", an address for each service",
                    (true, false) => ", shared by the services (this kernel makes no bridge)",
                    (false, _) => "",
                };
                return Ok(Opened { holder: Some(holder), network: format!("own{addresses}") });
            }
            Err(error) => choice = network::missing(wanted, &chain(&error)),
        }
    }
    match choice {
        Choice::Host { .. } if !has_services => Ok(Opened { holder: None, network: "host".to_owned() }),
        Choice::Own(_) | Choice::Host { reason: None } => {
            let holder = start(None).map_err(failure)?;
            Ok(Opened { holder: Some(holder), network: "host, shared by the services".to_owned() })
        }
        Choice::Host { reason: Some(reason) } => {
            let holder = start(None).map_err(failure)?;
            Ok(Opened { holder: Some(holder), network: format!("host, shared by the services ({reason})") })
        }
        Choice::Impossible { reason } => Err(StageFailure::system_with_hint(
            format!("this node gives a job no network of its own: {reason}"),
            "install pasta (package passt) and iproute2 on the nodes, or write `network = \"auto\"` in `[executor]`",
        )),
    }
}

fn start(
    context: &Context,
    node: &Node,
    hostname: &str,
    network: Option<network::OwnNetwork>,
) -> Result<Holder, PodError> {
    let has_network = network.is_some();
    let spec = KeeperSpec { hostname: hostname.to_owned(), network };
    let holder = Holder::start(&spec, node.mapping, &owner::of(getppid().as_raw()))?;
    let record = HolderRecord { keeper: holder.keeper.clone(), has_network };
    record.save(&context.paths).map_err(|error| PodError::Inside { message: error.to_string() })?;
    Ok(holder)
}

fn failure(error: PodError) -> StageFailure {
    StageFailure::system(&error)
}

fn write_resolv_conf(context: &Context) -> Result<(), StageFailure> {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let Some(text) = hosts::resolv_conf(&host) else { return Ok(()) };
    write_for_all(&context.paths.job.join("resolv.conf"), &text)
}
