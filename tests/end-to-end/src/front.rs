//! A server in front of the bed's registry: it counts, asks for logins, redirects, fails, and passes the rest on.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::bed::REGISTRY;

/// How the front differs from the registry behind it.
#[derive(Debug, Default)]
pub struct Behaviour {
    /// `Basic` and the base64 of `user:password`, wanted with every request or, where there are tokens, for a token.
    pub login: Option<&'static str>,
    /// Bearer tokens, from `/token` of this server.
    pub tokens: bool,
    /// So many first requests for manifests are answered by 503.
    pub unavailable: u32,
    /// So many first blobs end in the middle.
    pub broken_blobs: u32,
    /// How long each blob waits before it begins.
    pub blob_delay: Duration,
    /// Where blobs are redirected to (`http://HOST:PORT`).
    pub blobs_elsewhere: Option<String>,
    /// Manifests of our own: content type and text by the path behind `/v2/`.
    pub manifests: BTreeMap<String, (&'static str, String)>,
    /// Certificate and key of a server that speaks TLS.
    pub identity: Option<Identity>,
}

/// A certificate of its own authority, for one host name.
#[derive(Debug)]
pub struct Identity {
    pub certificate_pem: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    pub fn new(host: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a host name");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("certificate and key belong together");
        Self { certificate_pem: made.cert.pem(), config: Arc::new(config) }
    }
}

/// One request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// With its query.
    pub path: String,
    pub authorization: Option<String>,
}

/// The running server. It ends on drop.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    behaviour: Behaviour,
    seen: Mutex<Vec<Seen>>,
    unavailable: AtomicU32,
    broken_blobs: AtomicU32,
    down: AtomicBool,
}

/// What a bearer token is here.
const TOKEN: &str = "Bearer let-me-in";

impl Front {
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            address,
            unavailable: AtomicU32::new(behaviour.unavailable),
            broken_blobs: AtomicU32::new(behaviour.broken_blobs),
            behaviour,
            seen: Mutex::default(),
            down: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if server.down.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                // A client that goes away is its own affair.
                thread::spawn(move || server.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// An image's name at this server.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.address.port())
    }

    /// The same by a host name, for which nobody assumes plain HTTP.
    pub fn named_image(&self, name: &str) -> String {
        format!("{HOST}:{}/{name}", self.address.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What came in since the last call, in order.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().expect("no holder panics"))
    }

    /// How many requests of each kind came in since the last call: `HEAD manifests`, `GET blobs`.
    pub fn take_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in self.take_seen() {
            let kind = ["manifests", "blobs", "token"].into_iter().find(|kind| seen.path.contains(kind));
            *counts.entry(format!("{} {}", seen.method, kind.unwrap_or("other"))).or_default() += 1;
        }
        counts
    }
}

/// A name of the bed's loopback address.
pub const HOST: &str = "node1";

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.down.store(true, Ordering::SeqCst);
        // Wakes the server, which then closes its socket.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        match &self.behaviour.identity {
            None => self.answer(BufReader::new(stream)),
            Some(identity) => {
                let connection =
                    ServerConnection::new(Arc::clone(&identity.config)).map_err(io::Error::other)?;
                self.answer(BufReader::new(StreamOwned::new(connection, stream)))
            }
        }
    }

    fn answer(&self, mut stream: BufReader<impl Read + Write>) -> io::Result<()> {
        let mut first = String::new();
        stream.read_line(&mut first)?;
        let mut words = first.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
        let (mut headers, mut authorization) = (String::new(), None);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    authorization = Some(value.to_owned());
                }
                Some((name, _)) if ["host", "connection"].contains(&name.to_lowercase().as_str()) => {}
                Some(_) => headers.push_str(&line),
                None => break,
            }
        }
        let seen = Seen { method, path, authorization };
        self.seen.lock().expect("no holder panics").push(seen.clone());
        self.respond(&seen, &headers, stream.get_mut())?;
        stream.get_mut().flush()
    }

    fn respond(&self, seen: &Seen, headers: &str, stream: &mut impl Write) -> io::Result<()> {
        let behaviour = &self.behaviour;
        let with_login = behaviour.login.is_none() || seen.authorization.as_deref() == behaviour.login;
        if seen.path.starts_with("/token") {
            let body = format!("{{\"token\": \"{}\"}}", TOKEN.trim_start_matches("Bearer "));
            let status = if with_login { "200 OK" } else { "401 Unauthorized" };
            return write_answer(stream, status, &[], &body);
        }
        let may = if behaviour.tokens { seen.authorization.as_deref() == Some(TOKEN) } else { with_login };
        if !may {
            let challenge = if behaviour.tokens {
                format!(
                    "Bearer realm=\"http://{}/token\",service=\"front\",scope=\"repository:x:pull\"",
                    self.address
                )
            } else {
                "Basic realm=\"front\"".to_owned()
            };
            let header = format!("WWW-Authenticate: {challenge}");
            return write_answer(stream, "401 Unauthorized", &[&header], "{\"errors\": []}");
        }
        let is_blob = seen.path.contains("/blobs/");
        if !is_blob && take_one(&self.unavailable) {
            return write_answer(stream, "503 Service Unavailable", &[], "restarting");
        }
        if let Some((kind, text)) = behaviour.manifests.get(seen.path.trim_start_matches("/v2/")) {
            let header = format!("Content-Type: {kind}");
            let text = if seen.method == "HEAD" { "" } else { text };
            return write_answer(stream, "200 OK", &[&header], text);
        }
        if is_blob && let Some(elsewhere) = &behaviour.blobs_elsewhere {
            let header = format!("Location: {elsewhere}{}", seen.path);
            return write_answer(stream, "307 Temporary Redirect", &[&header], "");
        }
        if is_blob {
            thread::sleep(behaviour.blob_delay);
        }
        let mut registry = TcpStream::connect(REGISTRY)?;
        write!(
            registry,
            "{} {} HTTP/1.1\r\nHost: {REGISTRY}\r\nConnection: close\r\n{headers}\r\n",
            seen.method, seen.path
        )?;
        if is_blob && take_one(&self.broken_blobs) {
            let mut answer = Vec::new();
            registry.read_to_end(&mut answer)?;
            return stream.write_all(&answer[..answer.len() / 2]);
        }
        io::copy(&mut registry, stream).map(drop)
    }
}

fn write_answer(stream: &mut impl Write, status: &str, headers: &[&str], body: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len())?;
    for header in headers {
        write!(stream, "{header}\r\n")?;
    }
    write!(stream, "\r\n{body}")
}

/// True so many times as the counter says.
fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
