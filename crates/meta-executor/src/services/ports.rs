//! The TCP ports that tell whether a service is ready (gitlab-runner: `executors/docker/docker.go`,
//! `getContainerIPAndExposedPorts`).

use std::collections::BTreeMap;

/// docker's executor looks at no more of them.
const MOST: usize = 20;

/// A variable that names the port instead of the image. Its case does not matter.
const VARIABLE: &str = "HEALTHCHECK_TCP_PORT";

/// `HEALTHCHECK_TCP_PORT` in the service's environment, or the exposed TCP ports of its image, lowest first.
///
/// # Errors
/// The variable's value, if it is no port.
pub(crate) fn ports(
    environment: &BTreeMap<String, String>,
    exposed: Option<&[String]>,
) -> Result<Vec<u16>, String> {
    if let Some((_, value)) = environment.iter().find(|(key, _)| key.eq_ignore_ascii_case(VARIABLE)) {
        return value.trim().parse().map(|port| vec![port]).map_err(|_| value.clone());
    }
    let mut ports: Vec<u16> = exposed.unwrap_or_default().iter().flat_map(|entry| tcp_ports(entry)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(MOST);
    Ok(ports)
}

/// `5432`, `5432/tcp` or a range `8000-8010/tcp`.
fn tcp_ports(entry: &str) -> impl Iterator<Item = u16> {
    let (numbers, protocol) = entry.split_once('/').unwrap_or((entry, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let range = match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if protocol.eq_ignore_ascii_case("tcp") && first > 0 => Some(first..=last),
        _ => None,
    };
    range.into_iter().flatten().take(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variable: Option<(&str, &str)>, exposed: &[&str], expected: Result<&[u16], &str>) {
        let environment =
            variable.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        let exposed: Vec<String> = exposed.iter().map(|&entry| entry.to_owned()).collect();
        let found = ports(&environment, Some(&exposed));
        assert_eq!(found, expected.map(<[u16]>::to_vec).map_err(str::to_owned), "{exposed:?}");
    }

    #[test]
    fn exposed_tcp_ports_lowest_first() {
        check(None, &["8080/tcp", "443", "53/udp", "x/tcp", "443/tcp"], Ok(&[443, 8080]));
        check(None, &["8000-8002/tcp"], Ok(&[8000, 8001, 8002]));
        check(None, &[], Ok(&[]));
        let all = ports(&BTreeMap::new(), Some(&["1000-2000".to_owned(), "80".to_owned()])).unwrap();
        assert_eq!((all.len(), all[0]), (20, 80));
    }

    #[test]
    fn the_variable_names_the_port_whatever_its_case() {
        check(Some(("healthcheck_TCP_port", "7000")), &["80"], Ok(&[7000]));
        check(Some(("HEALTHCHECK_TCP_PORT", "http")), &["80"], Err("http"));
    }
}
