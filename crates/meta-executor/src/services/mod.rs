//! The job's services: databases and the like beside the job, as docker's executor has them.
//!
//! `plan` says which there are and what they are called, `start` pulls and starts them through the `holder`, `ready` waits
//! for them, `follow` copies their logs into the job's.

mod definition;
pub(crate) mod environment;
pub(crate) mod follow;
pub(crate) mod name;
pub(crate) mod only_user;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod ports;
pub(crate) mod ready;
pub(crate) mod start;
pub(crate) mod timestamp;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use meta_core::config::service::ServiceSettings;

use crate::job::{Image, Variable};
use crate::named_by::NamedBy;

/// A service that was started.
#[derive(Debug)]
pub(crate) struct StartedService {
    pub(crate) index: usize,
    /// What docker's executor would call its container.
    pub(crate) container: String,
    /// The image, as the job names it.
    pub(crate) image: String,
    pub(crate) named_by: NamedBy,
    pub(crate) host_names: Vec<String>,
    pub(crate) address: Ipv4Addr,
    /// One of them must answer; empty if nothing is known of the service.
    pub(crate) ports: Vec<u16>,
    pub(crate) log: PathBuf,
    /// Whether it runs as root and can become nobody else (isolation level B).
    pub(crate) is_only_root: bool,
}

/// Services of the configuration in the form of a job's. Their variables are expanded already.
pub(crate) fn configured(services: &[ServiceSettings]) -> Vec<Image> {
    let variable = |(key, value): (&String, &String)| Variable {
        key: key.clone(),
        value: value.clone(),
        raw: true,
        ..Variable::default()
    };
    services
        .iter()
        .map(|service| Image {
            name: service.name.clone(),
            alias: service.alias.clone(),
            entrypoint: service.entrypoint.clone(),
            command: service.command.clone(),
            variables: service.variables.iter().map(variable).collect(),
            ..Image::default()
        })
        .collect()
}
