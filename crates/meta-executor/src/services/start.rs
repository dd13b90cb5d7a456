//! Starts the services one after the other, with docker's log lines.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use meta_host::files::make_private_dir;

use super::StartedService;
use super::definition::{Definition, define};
use super::plan::{Plan, PlannedService};
use crate::container::{self, Container};
use crate::context::Context;
use crate::directories::{Directories, write_for_all};
use crate::failure::StageFailure;
use crate::holder::Holder;
use crate::holder::protocol::{Request, ServiceSpec};
use crate::job::Job;
use crate::log_line;
use crate::network::{self, hosts};
use crate::node::Node;
use crate::pod::spec::Mapping;

/// What all services of a job have in common.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) context: &'a Context,
    pub(crate) job: &'a Job,
    pub(crate) node: &'a Node,
    /// Of the job.
    pub(crate) hostname: &'a str,
    pub(crate) directories: &'a Directories,
}

/// Starts what `plan` says in the pod of `holder`.
pub(crate) fn start(
    surroundings: &Surroundings<'_>,
    plan: &Plan<'_>,
    holder: &mut Holder,
) -> Result<Vec<StartedService>, StageFailure> {
    for warning in &plan.warnings {
        log_line(&format!("WARNING: {warning}"));
    }
    let entries = host_entries(plan, holder.own_addresses);
    let mut started = Vec::new();
    for service in &plan.services {
        started.push(start_one(surroundings, service, &entries, holder)?);
    }
    refuse_shared_ports(&started, holder.own_addresses)?;
    Ok(started)
}

/// The services' addresses with their names, for hosts files.
pub(crate) fn host_entries(plan: &Plan<'_>, own_addresses: bool) -> Vec<hosts::Entry> {
    let entry =
        |service: &PlannedService<'_>| (address(service.index, own_addresses), service.host_names.clone());
    plan.services.iter().map(entry).collect()
}

fn address(index: usize, own_addresses: bool) -> Ipv4Addr {
    if own_addresses { network::address_of(index) } else { Ipv4Addr::LOCALHOST }
}

fn start_one(
    surroundings: &Surroundings<'_>,
    service: &PlannedService<'_>,
    entries: &[hosts::Entry],
    holder: &mut Holder,
) -> Result<StartedService, StageFailure> {
    let Surroundings { context, node, hostname, directories, .. } = surroundings;
    log_line(&format!("Starting service {}...", service.name.shown()));
    let Definition { image, mut environment, ports, words } = define(surroundings, service)?;
    let own_hostname = service.name.hostname(service.index);
    environment.insert("HOSTNAME".to_owned(), own_hostname.clone());
    let address = address(service.index, holder.own_addresses);
    let files = write_files(context, service.index, &own_hostname, address, entries)?;
    let log = files.join("log");
    let is_only_root = node.mapping == Mapping::RootOnly && image.user.uid == 0;
    let container = Container {
        image: &image,
        mapping: node.mapping,
        hostname: &own_hostname,
        layer: context.paths.overlay.join("services").join(service.index.to_string()),
        files,
        directories,
        environment,
        sees_gpus: false,
        umask: 0o022,
        more_binds: Vec::new(),
        words,
        stdin: None,
    };
    let pod = container::pod(context, &node.apptainer, container);
    let spec = ServiceSpec { index: service.index, pod, log: log.clone(), address, ports: ports.clone() };
    holder.ask(&Request::Start(Box::new(spec))).map_err(|error| StageFailure::system(&error))?;
    Ok(StartedService {
        index: service.index,
        container: format!("{hostname}-{}-{}", service.name.slug(), service.index),
        image: service.image.name.clone(),
        named_by: service.named_by,
        host_names: service.host_names.clone(),
        address,
        ports,
        log,
        is_only_root,
    })
}

/// Makes the service's directory with its own files of `/etc`.
fn write_files(
    context: &Context,
    index: usize,
    hostname: &str,
    address: Ipv4Addr,
    entries: &[hosts::Entry],
) -> Result<PathBuf, StageFailure> {
    let directory = context.paths.service(index);
    make_private_dir(&directory).map_err(|error| StageFailure::system(&error))?;
    let write = |name: &str, text: &str| write_for_all(&directory.join(name), text);
    let mut others = entries.to_vec();
    if address != Ipv4Addr::LOCALHOST {
        // The name of the job's container in docker's network per build.
        others.push((network::JOB, vec!["build".to_owned()]));
    }
    write("hosts", &hosts::hosts(hostname, address, &others))?;
    write("hostname", &format!("{hostname}\n"))?;
    if let Ok(text) = fs::read_to_string(context.paths.job.join("resolv.conf")) {
        write("resolv.conf", &text)?;
    }
    Ok(directory)
}

/// On a network that services share with each other, a second one on a port would wait for ever.
fn refuse_shared_ports(services: &[StartedService], own_addresses: bool) -> Result<(), StageFailure> {
    if own_addresses {
        return Ok(());
    }
    for (position, service) in services.iter().enumerate() {
        for other in &services[..position] {
            if let Some(port) = service.ports.iter().find(|port| other.ports.contains(port)) {
                return Err(StageFailure::job(
                    format!(
                        "the services \"{}\" and \"{}\" both listen on port {port}, and here they share one network",
                        other.image, service.image
                    ),
                    "give one of them another port, and tell it by `HEALTHCHECK_TCP_PORT` in its `variables:`; or ask the administrator to install pasta (package passt) on the nodes",
                ));
            }
        }
    }
    Ok(())
}
