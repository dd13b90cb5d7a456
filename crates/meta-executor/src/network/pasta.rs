//! How `pasta` is called (pasta(1)): it connects a network namespace with the host's network, as an ordinary user.

use std::net::Ipv4Addr;

use crate::job::Job;

/// Where the job's network has its name server; pasta passes queries on to the host's first one (podman uses the same).
pub(super) const NAME_SERVER: &str = "169.254.1.1";

/// The arguments that attach pasta to the network of the process that is PID 1 where it runs.
///
/// Nothing is forwarded into the job's network, and the host's loopback is not reachable from it (`--no-map-gw`) but for
/// `loopback_ports`, which are seen on the job's own.
pub(crate) fn arguments(loopback_ports: &[u16]) -> Vec<String> {
    let ports: Vec<String> = loopback_ports.iter().map(u16::to_string).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(",") };
    let mut arguments: Vec<String> =
        ["--config-net", "--quiet", "--no-map-gw", "--ns-ifname", "pasta0"].map(str::to_owned).to_vec();
    for (option, value) in [
        ("--tcp-ports", "none"),
        ("--udp-ports", "none"),
        ("--tcp-ns", &ports),
        ("--udp-ns", "none"),
        ("--dns-forward", NAME_SERVER),
        ("--netns", "/proc/1/ns/net"),
    ] {
        arguments.extend([option.to_owned(), value.to_owned()]);
    }
    arguments
}

/// Ports of GitLab and its registry, where they are on this very node: on its loopback. The registry is the one that GitLab
/// gives a login for: where it has none, `CI_REGISTRY` would be the job's to set.
pub(super) fn loopback_ports(job: &Job) -> Vec<u16> {
    let of_url = |url: &str| {
        let (default, rest) = match url.split_once("://") {
            Some(("http", rest)) => (80, rest),
            Some((_, rest)) => (443, rest),
            None => (443, url),
        };
        loopback_port(rest.split('/').next().unwrap_or_default(), default)
    };
    let registries = job.credentials.iter().filter(|credential| credential.kind == "registry");
    let named = job.predefined("CI_SERVER_URL").into_iter();
    let named = named.chain(registries.map(|credential| credential.url.as_str()));
    let mut ports: Vec<u16> = named.filter_map(of_url).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port of `host[:port]`, if the host is a name or address of the loopback.
fn loopback_port(place: &str, default: u16) -> Option<u16> {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (place, default),
    };
    let is_loopback = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    (is_loopback || host == "localhost" || host == "[::1]").then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_ports_of_the_loopback_are_seen() {
        expect_test::expect![
            "--config-net --quiet --no-map-gw --ns-ifname pasta0 --tcp-ports none --udp-ports none --tcp-ns 5000,8080 --udp-ns none --dns-forward 169.254.1.1 --netns /proc/1/ns/net"
        ]
        .assert_eq(&arguments(&[5000, 8080]).join(" "));
        assert!(arguments(&[]).join(" ").contains("--tcp-ns none"));
    }

    #[test]
    fn gitlab_on_the_loopback_is_found() {
        let check = |url: &str, registry: &str, expected: &[u16]| {
            let job = format!(
                r#"{{"variables": [{{"key": "CI_SERVER_URL", "value": "{url}"}}, {{"key": "CI_REGISTRY", "value": "localhost:6379"}}],
                    "credentials": [{{"type": "registry", "url": "{registry}"}}, {{"type": "other", "url": "localhost:22"}}]}}"#
            );
            assert_eq!(loopback_ports(&serde_json::from_str(&job).unwrap()), expected, "{url} {registry}");
        };
        check("http://127.0.0.1:8080/gitlab", "127.0.0.1:5000", &[5000, 8080]);
        check("http://localhost", "", &[80]);
        check("https://[::1]", "localhost", &[443]);
        check("https://gitlab.example.com", "registry.example.com:5050", &[]);
        check("https://127.example.com", "", &[]);
    }
}
