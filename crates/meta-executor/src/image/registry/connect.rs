//! How a registry is reached: by TLS with the system's roots and the site's own, by plain HTTP where that is allowed.

use std::net::IpAddr;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::TlsConfig;

use super::RegistryError;

/// Where Docker Hub's images really are.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// A download of which nothing comes for so long has stalled. Other jobs wait for the image meanwhile.
const STALL: Duration = Duration::from_secs(60);

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistrySettings {
    /// Registries by `host[:port]` that are spoken to by plain HTTP. Loopback ones are always, as for docker.
    pub(crate) insecure: Vec<String>,
    /// PEM text of a private CA, trusted beside the system's.
    pub(crate) ca: Option<String>,
}

impl RegistrySettings {
    /// `scheme://host[:port]` of a registry's API.
    pub(super) fn base(&self, registry: &str) -> String {
        let host = if registry == "docker.io" { DOCKER_HUB } else { registry };
        let plain = self.insecure.iter().any(|name| name.eq_ignore_ascii_case(host)) || is_loopback(host);
        let scheme = if plain { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// An agent that keeps its connections. It sends no `Authorization` to where a registry redirects to: the content of
    /// images often lies with another server, which must not learn the password.
    pub(super) fn agent(&self) -> Result<Agent, RegistryError> {
        self.agent_with(STALL)
    }

    fn agent_with(&self, stall: Duration) -> Result<Agent, RegistryError> {
        let roots =
            meta_host::trust::roots(self.ca.as_deref().map(str::as_bytes)).map_err(RegistryError::Trust)?;
        Ok(Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(stall))
            // A layer of 10 GB by a line of 20 Mbit/s; what takes longer trickles.
            .timeout_recv_body(Some(Duration::from_secs(3600)))
            .user_agent(concat!("gitlab-meta-runner/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent())
    }
}

/// docker counts 127.0.0.0/8 and ::1 as insecure registries without being told.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_download_that_stalls_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/blob", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().0;
            assert!(connection.read(&mut [0; 4096]).unwrap() > 0);
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin").unwrap();
            // Until the client has had enough.
            connection.read(&mut [0; 1])
        });
        let agent = RegistrySettings::default().agent_with(Duration::from_millis(200)).unwrap();
        let mut body = agent.get(&url).call().unwrap().into_body().into_reader();
        let mut text = Vec::new();
        let error = body.read_to_end(&mut text).unwrap_err();
        assert_eq!((error.to_string().as_str(), text.as_slice()), ("timeout: per read", b"begin".as_slice()));
        drop((body, agent));
        server.join().unwrap().unwrap();
    }

    #[test]
    fn plain_http_is_for_loopback_and_what_is_listed() {
        let settings = RegistrySettings { insecure: vec!["Registry.lan:5000".to_owned()], ca: None };
        for (registry, base) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("registry.example.com", "https://registry.example.com"),
            ("registry.lan:5000", "http://registry.lan:5000"),
            ("registry.lan", "https://registry.lan"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("127.3.2.1", "http://127.3.2.1"),
            ("localhost:5000", "http://localhost:5000"),
            ("localhost.example.com", "https://localhost.example.com"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000"),
        ] {
            assert_eq!(settings.base(registry), base);
        }
    }
}
