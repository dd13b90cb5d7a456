//! Which network a job sees: the host's, or one of its own.
//!
//! ```text
//! host's network ── pasta ── the job's network: pasta0, bridge `services` 198.18.0.1
//!                              ├─ veth ── first service   198.18.0.2
//!                              └─ veth ── second service  198.18.0.3
//! ```
//!
//! The job's scripts run in the job's network, each service in one of its own behind the bridge, so that two may listen on
//! one port. `pasta` (of the package passt) carries what goes out, without root. Helper stages stay in the host's network.

pub(crate) mod hosts;
pub(crate) mod pasta;
pub(crate) mod plumbing;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use meta_core::config::executor::Network;
use serde::{Deserialize, Serialize};

use crate::job::Job;

/// First address of the networks' block, which is set aside for benchmarks (RFC 2544) and therefore used by no site.
const BLOCK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Length of the block's prefix.
const PREFIX: u8 = 16;

/// The job's own address, which services may talk to.
pub(crate) const JOB: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The address of service number `index` on the bridge.
pub(crate) fn address_of(index: usize) -> Ipv4Addr {
    // Nobody asks for 65 thousand services; who does gets the last address twice.
    let offset = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(2).min(65_534);
    Ipv4Addr::from(BLOCK.to_bits() + offset)
}

/// What the holder needs to make a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnNetwork {
    pub(crate) pasta: PathBuf,
    pub(crate) ip: PathBuf,
    /// Ports on the host's loopback that the job reaches on its own.
    pub(crate) loopback_ports: Vec<u16>,
}

/// The network that a job should get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The host's, and why, if the job has services and could expect another one.
    Host { reason: Option<String> },
    /// Its own.
    Own(OwnNetwork),
    /// Its own was asked for and can't be had.
    Impossible { reason: String },
}

/// Chooses by the configuration, the job's services and the programs that the node has (`find` looks one up).
pub(crate) fn choose(
    wanted: Network,
    job: &Job,
    has_services: bool,
    find: impl Fn(&str) -> Option<PathBuf>,
) -> Choice {
    if wanted == Network::Host || (wanted == Network::Auto && !has_services) {
        return Choice::Host { reason: None };
    }
    match (find("pasta"), find("ip")) {
        (Some(pasta), Some(ip)) => {
            Choice::Own(OwnNetwork { pasta, ip, loopback_ports: pasta::loopback_ports(job) })
        }
        (None, _) => missing(wanted, "`pasta` (package passt) is not installed"),
        (_, None) => missing(wanted, "`ip` (package iproute2) is not installed"),
    }
}

/// What is left when the job's own network can't be had.
pub(crate) fn missing(wanted: Network, reason: &str) -> Choice {
    let reason = reason.to_owned();
    if wanted == Network::Own { Choice::Impossible { reason } } else { Choice::Host { reason: Some(reason) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_jobs_own() {
        assert_eq!(address_of(0), Ipv4Addr::new(198, 18, 0, 2));
        assert_eq!(address_of(300), Ipv4Addr::new(198, 18, 1, 46));
    }

    #[test]
    fn the_network_follows_configuration_services_and_node() {
        let job: Job = serde_json::from_str("{}").unwrap();
        let choice = |wanted, has_services, programs: &[&str]| {
            choose(wanted, &job, has_services, |name| {
                programs.contains(&name).then(|| PathBuf::from(format!("/usr/bin/{name}")))
            })
        };
        let both = ["pasta", "ip"];
        let own = Choice::Own(OwnNetwork {
            pasta: "/usr/bin/pasta".into(),
            ip: "/usr/bin/ip".into(),
            loopback_ports: Vec::new(),
        });
        let host = Choice::Host { reason: None };
        assert_eq!(choice(Network::Auto, true, &both), own);
        assert_eq!(choice(Network::Auto, false, &both), host);
        assert_eq!(choice(Network::Own, false, &both), own);
        assert_eq!(choice(Network::Host, true, &both), host);
        let reason = "`pasta` (package passt) is not installed".to_owned();
        assert_eq!(choice(Network::Auto, true, &["ip"]), Choice::Host { reason: Some(reason.clone()) });
        assert_eq!(choice(Network::Own, true, &["ip"]), Choice::Impossible { reason });
        let reason = "`ip` (package iproute2) is not installed".to_owned();
        assert_eq!(choice(Network::Own, true, &["pasta"]), Choice::Impossible { reason });
    }
}
