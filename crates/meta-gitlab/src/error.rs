//! What can go wrong with a request, in the terms of the people who have to repair it.

use std::error::Error;
use std::fmt;

use meta_host::{Failure, exit};
use serde_json::Value;

/// A request that did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("`{method} {url}` {}", Outcome(self))]
pub struct ApiError {
    pub method: &'static str,
    /// The whole URL. Tokens are never part of one.
    pub url: String,
    /// The scope that a token needs for this call.
    pub(crate) scope: &'static str,
    /// The HTTP status; None if there was no answer.
    pub status: Option<u16>,
    /// What the answer says, as one line; empty if it says nothing.
    pub body: String,
    pub kind: ErrorKind,
    /// The seconds of `Retry-After`, if the server sent it, at most an hour.
    pub retry_after_s: Option<u64>,
    #[source]
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
}

/// The reason, as far as it makes a difference to what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// 401: the token is wrong, expired or revoked.
    Unauthorized,
    /// 403: the token lacks a scope.
    InsufficientScope,
    /// 403 for any other reason: the role is too low, or it is not allowed at all.
    Forbidden,
    /// 404 from GitLab itself.
    NotFound,
    /// 400, 405, 409, 412, 422: GitLab does not accept what we sent.
    Refused,
    /// 429.
    RateLimited,
    /// 5xx.
    Server,
    /// 3xx, with the place it leads to. Not followed.
    Redirect { location: String },
    /// An answer that is not one of GitLab's API: a proxy's page, a truncated body, another JSON.
    NotGitLab,
    /// The host name is not known.
    UnknownHost,
    /// Nothing listens there.
    ConnectionRefused,
    /// The connection broke or timed out.
    Interrupted,
    /// The server's certificate is not trusted.
    Certificate,
}

/// An answer that is no success.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) location: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl ErrorKind {
    /// The kind of an answer, and what its body says.
    pub(crate) fn of_answer(answer: &Answer<'_>) -> (Self, String) {
        let json: Option<Value> = serde_json::from_slice(answer.body).ok().filter(Value::is_object);
        let text = json.as_ref().map_or_else(|| first_line(answer.body), message);
        let kind = match answer.status {
            // Only the throttle in front of GitLab and broken servers answer with anything but JSON.
            429 => Self::RateLimited,
            500..=599 => Self::Server,
            300..=399 => Self::Redirect { location: answer.location.unwrap_or_default().to_owned() },
            _ if json.is_none() => Self::NotGitLab,
            401 => Self::Unauthorized,
            403 if json.as_ref().is_some_and(|json| json["error"] == "insufficient_scope") => {
                Self::InsufficientScope
            }
            403 => Self::Forbidden,
            404 => Self::NotFound,
            400..=499 => Self::Refused,
            _ => Self::NotGitLab,
        };
        (kind, text)
    }

    /// The kind of a request that got no answer.
    pub(crate) fn of_failure(error: &ureq::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error {
            ureq::Error::HostNotFound => Self::UnknownHost,
            ureq::Error::ConnectionFailed => Self::ConnectionRefused,
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => Self::Certificate,
            // rustls has no type of its own for a failed handshake when it reaches us through a stream.
            ureq::Error::Io(error) if error.to_string().contains("certificate") => Self::Certificate,
            ureq::Error::Io(error) => match error.kind() {
                Io::ConnectionRefused | Io::HostUnreachable | Io::NetworkUnreachable => {
                    Self::ConnectionRefused
                }
                _ => Self::Interrupted,
            },
            ureq::Error::Timeout(_) | ureq::Error::BodyStalled => Self::Interrupted,
            _ => Self::NotGitLab,
        }
    }
}

/// What went wrong below HTTP, without ureq's own wrapping of it.
pub(crate) fn cause(error: ureq::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        ureq::Error::Io(error) => error.into(),
        error => error.into(),
    }
}

impl ApiError {
    /// Whether GitLab itself says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether every other call with the same token or to the same server will fail in the same way.
    pub fn concerns_all_calls(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unauthorized
                | ErrorKind::RateLimited
                | ErrorKind::Redirect { .. }
                | ErrorKind::UnknownHost
                | ErrorKind::ConnectionRefused
                | ErrorKind::Certificate
        )
    }

    /// Whether it says more of the way to GitLab, or of its health, than of what was asked for.
    pub fn is_trouble_on_the_way(&self) -> bool {
        matches!(self.kind, ErrorKind::Interrupted | ErrorKind::Server | ErrorKind::NotGitLab)
    }

    fn certificate_hint(&self) -> String {
        let reason = self.source.as_ref().map(ToString::to_string).unwrap_or_default();
        if reason.contains("Expired") {
            "GitLab's certificate has expired, or the clock of this machine is wrong".to_owned()
        } else if reason.contains("NotValidForName") || reason.contains("not valid for name") {
            "the certificate is for another host name: write that one in `hostname` or `url`".to_owned()
        } else {
            "set `ca_file` to a PEM file with the certificate of the authority that signed GitLab's, or with \
             GitLab's own if it is self-signed"
                .to_owned()
        }
    }
}

impl Failure for ApiError {
    fn exit_code(&self) -> u8 {
        exit::GITLAB
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            ErrorKind::Unauthorized => {
                "the management token is wrong, expired or revoked: make a new one with the scopes read_api, \
                 create_runner and manage_runner"
                    .to_owned()
            }
            ErrorKind::InsufficientScope => format!(
                "the management token lacks the scope {} for this call: make a new one with the scopes read_api, \
                 create_runner and manage_runner",
                self.scope
            ),
            ErrorKind::Forbidden if self.body.contains("more than one project") => {
                "projects that the token's owner does not see use this runner, too: unassign it there first"
                    .to_owned()
            }
            ErrorKind::Forbidden => {
                "the token's owner needs the role Maintainer in the project, or Owner in the group".to_owned()
            }
            ErrorKind::NotFound if self.is_about("projects") => {
                "check `project` in the configuration, and that the token's owner is a member of that project"
                    .to_owned()
            }
            ErrorKind::NotFound if self.is_about("groups") => {
                "check `group` in the configuration, and that the token's owner is a member of that group"
                    .to_owned()
            }
            ErrorKind::NotFound | ErrorKind::Refused => return None,
            ErrorKind::RateLimited => "too many requests: try again later, or ask for fewer".to_owned(),
            ErrorKind::Server => "GitLab has a problem or is being updated: try again later".to_owned(),
            ErrorKind::Redirect { location } => {
                format!(
                    "the server sends us to `{location}`: write its address in `url`, or the project's new path"
                )
            }
            ErrorKind::NotGitLab => {
                "this is no answer of GitLab's API: check `url`, and proxies on the way".to_owned()
            }
            ErrorKind::UnknownHost => "check `hostname` or `url` in the configuration".to_owned(),
            ErrorKind::ConnectionRefused | ErrorKind::Interrupted => {
                "check `hostname` or `url`, and whether this machine reaches GitLab only through a proxy \
                 (set https_proxy)"
                    .to_owned()
            }
            ErrorKind::Certificate => self.certificate_hint(),
        })
    }
}

impl ApiError {
    fn is_about(&self, resource: &str) -> bool {
        self.url.split_once("/api/v4/").is_some_and(|(_, path)| path.starts_with(resource))
    }
}

struct Outcome<'a>(&'a ApiError);

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        match (error.status, error.source.is_some()) {
            // GitLab repeats the status in most messages.
            (Some(status), _) if error.body.starts_with(&status.to_string()) => {
                write!(f, "answered {}", error.body)
            }
            (Some(status), _) if error.body.is_empty() => write!(f, "answered {status}"),
            (Some(status), _) => write!(f, "answered {status}: {}", error.body),
            (None, true) => write!(f, "failed"),
            (None, false) => write!(f, "failed: {}", error.body),
        }
    }
}

/// The text of an error body: `message` (a string, a list, or an object of field to texts), `error`,
/// `error_description`. All three shapes occur (API docs, "Data validation and error reporting").
fn message(body: &Value) -> String {
    let parts: Vec<String> =
        ["message", "error", "error_description"].iter().filter_map(|key| body.get(key)).map(flat).collect();
    parts.join(": ")
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('\n', " "),
        Value::Array(items) => items.iter().map(flat).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| format!("{key} {}", flat(value))).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// What a page that is not JSON says, short enough for one line.
fn first_line(body: &[u8]) -> String {
    const LENGTH: usize = 120;
    let text = String::from_utf8_lossy(body);
    text.trim().lines().next().unwrap_or_default().chars().take(LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> (ErrorKind, String) {
        ErrorKind::of_answer(&Answer { status, location: Some("/there"), body: body.as_bytes() })
    }

    #[test]
    fn statuses_and_bodies_of_gitlab() {
        let cases = [
            (401, r#"{"message":"401 Unauthorized"}"#, ErrorKind::Unauthorized, "401 Unauthorized"),
            (
                403,
                r#"{"error":"insufficient_scope","error_description":"needs more","scope":"api"}"#,
                ErrorKind::InsufficientScope,
                "insufficient_scope: needs more",
            ),
            (403, r#"{"message":"403 Forbidden - No"}"#, ErrorKind::Forbidden, "403 Forbidden - No"),
            (404, r#"{"message":"404 Project Not Found"}"#, ErrorKind::NotFound, "404 Project Not Found"),
            (404, "<html>proxy</html>\nmore", ErrorKind::NotGitLab, "<html>proxy</html>"),
            (
                400,
                r#"{"message":{"tags_list":["can not be empty","is bad"]}}"#,
                ErrorKind::Refused,
                "tags_list can not be empty, is bad",
            ),
            (400, r#"{"error":"runner_type is missing"}"#, ErrorKind::Refused, "runner_type is missing"),
            (429, "Retry later", ErrorKind::RateLimited, "Retry later"),
            (502, "<html>", ErrorKind::Server, "<html>"),
            (301, "", ErrorKind::Redirect { location: "/there".to_owned() }, ""),
        ];
        for (status, body, expected, text) in cases {
            assert_eq!(kind(status, body), (expected, text.to_owned()), "{status} {body}");
        }
    }
}
