//! `git http-backend` as a CGI program.

#![expect(clippy::disallowed_methods, reason = "the stand-in runs git itself; nothing of it is shipped")]

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::isolated;

/// One request for the backend.
#[derive(Debug)]
pub(super) struct CgiRequest<'a> {
    pub(super) root: &'a Path,
    pub(super) method: &'a str,
    /// Below `root`, beginning with a slash.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// CGI names of the headers that the backend reads, with their values.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) user: &'a str,
    pub(super) body: &'a [u8],
}

/// What the backend answered.
#[derive(Debug)]
pub(super) struct CgiAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Runs the backend to its end. The whole answer is kept in memory: repositories of tests are small.
pub(super) fn run_backend(request: &CgiRequest<'_>) -> io::Result<CgiAnswer> {
    let mut process = Command::new("git");
    isolated(&mut process)
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", request.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method)
        .env("PATH_INFO", request.path)
        .env("QUERY_STRING", request.query)
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("REMOTE_USER", request.user)
        .env("REMOTE_ADDR", "127.0.0.1")
        .envs(request.headers.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = process.spawn()?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // The backend may end without reading everything: a broken pipe is no error of ours.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(request.body)));
        child.wait_with_output()
    })?;
    parse(&output.stdout)
}

fn parse(output: &[u8]) -> io::Result<CgiAnswer> {
    let split = output.windows(4).position(|window| window == b"\r\n\r\n");
    let split = split.ok_or_else(|| io::Error::other("`git http-backend` answered without a header"))?;
    let mut answer = CgiAnswer { status: 200, headers: Vec::new(), body: output[split + 4..].to_vec() };
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("status") {
            answer.status = value.split_whitespace().next().and_then(|code| code.parse().ok()).unwrap_or(500);
        } else {
            answer.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_comes_from_its_own_header() {
        let answer = parse(b"Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nno").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (403, b"no".as_slice()));
        assert_eq!(answer.headers, [("Content-Type".to_owned(), "text/plain".to_owned())]);
    }
}
