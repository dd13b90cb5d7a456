//! What stands between a client and GitLab: a reverse proxy below a sub-path, a forward proxy, a bad line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A listener on a free port. It ends with the test's process.
#[derive(Debug)]
pub(crate) struct Relay {
    listener: TcpListener,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub(crate) fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), seen: Arc::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// First lines of the requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Passes requests on to `gitlab`: `line` changes the first line of a request, `answer` the bytes of its answer.
    pub(crate) fn pass_on(
        &self,
        gitlab: SocketAddr,
        line: impl Fn(&str) -> String + Send + Sync + 'static,
        answer: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) {
        let (line, answer) = (Arc::new(line), Arc::new(answer));
        self.accept(move |client, first, rest| {
            let mut server = TcpStream::connect(gitlab)?;
            // One request for each connection: the answer ends where the server closes.
            write!(server, "{}\r\nConnection: close\r\n", line(&first))?;
            server.write_all(&rest)?;
            let mut bytes = Vec::new();
            server.read_to_end(&mut bytes)?;
            (&client).write_all(&answer(&first, bytes))?;
            client.shutdown(Shutdown::Both)
        });
    }

    /// Opens tunnels, as a forward proxy does for `CONNECT`.
    pub(crate) fn tunnel(&self) {
        self.accept(|client, first, _| {
            let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let server = TcpStream::connect(target)?;
            (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
            let back = thread::spawn(move || copy(&mut &server, &mut &client));
            let sent = copy(&mut up, &mut down);
            down.shutdown(Shutdown::Write)?;
            drop(back.join());
            sent.map(drop)
        });
    }

    /// Calls `serve` with each connection, the first line of its request, and the rest of it.
    fn accept(
        &self,
        serve: impl Fn(TcpStream, String, Vec<u8>) -> std::io::Result<()> + Send + Sync + 'static,
    ) {
        let (listener, seen) = (self.listener.try_clone().unwrap(), Arc::clone(&self.seen));
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&seen));
                thread::spawn(move || {
                    let (first, rest) = read_request(&client)?;
                    seen.lock().unwrap().push(first.clone());
                    serve(client, first, rest)
                });
            }
        });
    }
}

/// The first line without its end, and everything behind it.
fn read_request(client: &TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut rest, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        // Not every proxy understands a body of unknown length.
        if line.to_ascii_lowercase().starts_with("transfer-encoding:") {
            return Err(std::io::ErrorKind::Unsupported.into());
        }
        rest.extend_from_slice(line.as_bytes());
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    rest.extend(body);
    Ok((first.trim_end().to_owned(), rest))
}
