//! Starts the services one after the other, with docker's log lines.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use meta_host::files::make_private_dir;

use super::environment::environment;
use super::plan::{Plan, PlannedService};
use super::{StartedService, only_user, ports};
use crate::container::{self, Container};
use crate::context::Context;
use crate::directories::{Directories, write_for_all};
use crate::entry::{DEFAULT_PATH, image_variables};
use crate::failure::StageFailure;
use crate::holder::Holder;
use crate::holder::protocol::{Request, ServiceSpec};
use crate::image::prepared;
use crate::image::store::StoredImage;
use crate::job::Job;
use crate::network::{self, hosts};
use crate::node::Node;
use crate::pod::spec::Mapping;
use crate::{log_line, pull};

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
    let Surroundings { context, job, node, hostname, directories } = surroundings;
    if service.image.name.is_empty() {
        return Err(StageFailure::job(
            "invalid service image name: it is empty",
            "correct `services:` in .gitlab-ci.yml; a variable in a name may be unset",
        ));
    }
    log_line(&format!("Starting service {}...", service.name.shown()));
    let image = pull::service(context, job, service, node.mapping)?;
    let mut environment = image_environment(&image);
    environment.extend(environment_of(surroundings, service));
    let ports = exposed_ports(service, &image, &environment)?;
    let words = command(service, &image);
    let volumes = image.config.config().as_ref().and_then(|config| config.volumes().clone());
    let mut image = prepared::prepared_image(context, job, service.image, image, node.mapping)?;
    if node.mapping == Mapping::RootOnly {
        only_user::choose(service, &mut image, &volumes.unwrap_or_default());
    }
    if image.entrypoint.is_empty() && words.is_empty() {
        return Err(StageFailure::job(
            format!("the service \"{}\" has neither entrypoint nor command", service.image.name),
            "give it one in .gitlab-ci.yml: `command: [...]`",
        ));
    }
    environment.entry("HOME".to_owned()).or_insert_with(|| image.user.home.clone());
    let own_hostname = service.name.hostname(service.index);
    environment.insert("HOSTNAME".to_owned(), own_hostname.clone());
    let address = address(service.index, holder.own_addresses);
    let files = write_files(context, service.index, &own_hostname, address, entries)?;
    let log = files.join("log");
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
    let is_only_root = node.mapping == Mapping::RootOnly && image.user.uid == 0;
    holder.ask(&Request::Start(Box::new(spec))).map_err(|error| StageFailure::system(&error))?;
    Ok(StartedService {
        index: service.index,
        container: format!("{hostname}-{}-{}", service.name.slug(), service.index),
        image: service.image.name.clone(),
        host_names: service.host_names.clone(),
        address,
        ports,
        log,
        is_only_root,
    })
}

fn image_environment(image: &StoredImage) -> BTreeMap<String, String> {
    let env = image.config.config().as_ref().and_then(|config| config.env().clone()).unwrap_or_default();
    let mut environment = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    environment.extend(image_variables(&env));
    environment
}

fn environment_of(surroundings: &Surroundings<'_>, service: &PlannedService<'_>) -> BTreeMap<String, String> {
    environment(surroundings.job, service.image, &surroundings.context.environment.variables)
}

fn exposed_ports(
    service: &PlannedService<'_>,
    image: &StoredImage,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<u16>, StageFailure> {
    let exposed = image.config.config().as_ref().and_then(|config| config.exposed_ports().clone());
    ports::ports(environment, exposed.as_deref()).map_err(|value| {
        StageFailure::job(
            format!("invalid health check tcp port of service \"{}\": {value}", service.image.name),
            "write a number into `HEALTHCHECK_TCP_PORT`",
        )
    })
}

/// What follows the entrypoint: an entrypoint of the job's takes the image's command away, as in docker.
fn command(service: &PlannedService<'_>, image: &StoredImage) -> Vec<String> {
    if !service.image.command.is_empty() || !service.image.entrypoint.is_empty() {
        return service.image.command.clone();
    }
    image.config.config().as_ref().and_then(|config| config.cmd().clone()).unwrap_or_default()
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
