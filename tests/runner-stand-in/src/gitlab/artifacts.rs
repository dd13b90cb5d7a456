//! `POST` and `GET /jobs/:id/artifacts`.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use ureq::SendBody;
use ureq::http::{Method, Response};

use super::{Client, JobCredentials};
use crate::random;
use crate::runner_log::{Level, log};

#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) file_name: String,
    pub(crate) expire_in: String,
    pub(crate) format: String,
    pub(crate) kind: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Uploaded {
    Done,
    /// Try again at this scheme and host.
    Redirected(String),
    Forbidden,
    TooLarge,
    Unavailable,
    Failed(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Downloaded {
    Done,
    NotFound,
    Forbidden,
    Failed,
}

impl Client {
    /// Sends `file` from its start, as one chunked multipart body. The token goes into the header only.
    pub(crate) fn upload_artifact(&self, job: &JobCredentials, artifact: &Artifact, file: File) -> Uploaded {
        let query: Vec<String> = [
            ("artifact_format", &artifact.format),
            ("artifact_type", &artifact.kind),
            ("expire_in", &artifact.expire_in),
        ]
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", query_escape(value)))
        .collect();
        let path = format!("jobs/{}/artifacts?{}", job.id, query.join("&"));
        let boundary = random::hex();
        let answer = self.with_retries(|| {
            let body = multipart(&boundary, &artifact.file_name, &file);
            let request = self.request(Method::POST, &path, ("JOB-TOKEN", &job.token));
            request.header("Content-Type", format!("multipart/form-data; boundary={boundary}")).body(body)
        });
        let message = match artifact.kind.as_str() {
            "" => "Uploading artifacts to coordinator...".to_owned(),
            kind => format!("Uploading artifacts as \"{kind}\" to coordinator..."),
        };
        let (result, status) = match &answer {
            Ok(response) => (uploaded(response), response.status().to_string()),
            Err(error) => (Uploaded::Failed(error.to_string()), error.to_string()),
        };
        let level = match (&result, &answer) {
            (Uploaded::Done, _) => Level::Info,
            (Uploaded::Failed(_), Ok(_)) => Level::Warning,
            _ => Level::Error,
        };
        log(level, format!("{message} {status}"), &[("id", &job.id)]);
        result
    }

    /// Writes the archive to `target`. `direct` asks for a redirect to where it is stored.
    pub(crate) fn download_artifact(&self, job: &JobCredentials, direct: bool, target: &Path) -> Downloaded {
        let query = if direct { "?direct_download=true" } else { "" };
        let path = format!("jobs/{}/artifacts{query}", job.id);
        let mut answer =
            self.with_retries(|| self.request(Method::GET, &path, ("JOB-TOKEN", &job.token)).body(()));
        let location = answer.as_ref().ok().and_then(redirect);
        if let Some(location) = &location {
            // The storage has its own credentials in the URL; the token is not for it.
            answer = self.agent.get(location).call();
        }
        let (result, status) = match answer {
            Ok(mut response) => {
                let status = response.status();
                let result = match status.as_u16() {
                    200 => save(&mut response, target).map_or(Downloaded::Failed, |()| Downloaded::Done),
                    401 | 403 => Downloaded::Forbidden,
                    404 => Downloaded::NotFound,
                    _ => Downloaded::Failed,
                };
                (result, status.to_string())
            }
            Err(error) => (Downloaded::Failed, error.to_string()),
        };
        let level = if result == Downloaded::Done { Level::Info } else { Level::Error };
        let status = if result == Downloaded::Done { "ok" } else { &status };
        log(level, format!("Downloading artifacts from coordinator... {status}"), &[("id", &job.id)]);
        result
    }
}

fn uploaded(response: &Response<ureq::Body>) -> Uploaded {
    match response.status().as_u16() {
        201 => Uploaded::Done,
        307 => match redirect(response).and_then(|location| host_of(&location)) {
            Some(host) => Uploaded::Redirected(host),
            None => Uploaded::Failed("empty location".to_owned()),
        },
        403 => Uploaded::Forbidden,
        413 => Uploaded::TooLarge,
        503 => Uploaded::Unavailable,
        code => Uploaded::Failed(format!("upload failed with status {code}")),
    }
}

fn redirect(response: &Response<ureq::Body>) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 302 | 307);
    let location = response.headers().get("Location").filter(|_| redirects)?;
    location.to_str().ok().map(str::to_owned)
}

/// `https://host:port` of a URL.
fn host_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split(['/', '?']).next().unwrap_or("")))
}

fn save(response: &mut Response<ureq::Body>, target: &Path) -> io::Result<()> {
    io::copy(&mut response.body_mut().as_reader(), &mut File::create(target)?)?;
    Ok(())
}

fn multipart(boundary: &str, name: &str, file: &File) -> SendBody<'static> {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let content = FromStart { file: file.try_clone(), rewound: false };
    SendBody::from_owned_reader(Cursor::new(head).chain(content).chain(Cursor::new(tail)))
}

/// Reads a file from its start, whatever was read before.
struct FromStart {
    file: io::Result<File>,
    rewound: bool,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file.as_mut().map_err(|error| io::Error::other(error.to_string()))?;
        if !self.rewound {
            file.seek(SeekFrom::Start(0))?;
            self.rewound = true;
        }
        file.read(buffer)
    }
}

/// Go's form encoding: a blank is a plus.
fn query_escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_hosts() {
        assert_eq!(query_escape("1 week & more"), "1+week+%26+more");
        assert_eq!(host_of("https://h:8/a?b").as_deref(), Some("https://h:8"));
    }
}
