//! How a stand-in is started.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything has a default: loopback, a free port, a temporary state directory, no TLS, the real clock.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where repositories live; a temporary directory, removed at the end, without it.
    pub state_dir: Option<PathBuf>,
    /// The URL that answers and jobs show, if it is not the one listened on.
    pub external_url: Option<String>,
    /// Serve HTTPS with a certificate that the stand-in signs itself, for `localhost` and 127.0.0.1.
    pub tls: bool,
    /// Begin with a clock that only moves when told.
    pub frozen_clock: bool,
    /// The text of a seed file (JSON): users, projects, tokens, runners, jobs.
    pub seed: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state_dir: None,
            external_url: None,
            tls: false,
            frozen_clock: false,
            seed: None,
        }
    }
}
