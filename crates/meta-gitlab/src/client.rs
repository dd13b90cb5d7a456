//! Sends requests and reads answers; knows headers, pages and retries, but no resource.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meta_core::secret::Secret;
use meta_host::{clock, random};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::header::{LINK, LOCATION, RETRY_AFTER};
use ureq::http::{Method, Request, Response};

use crate::connection::{ConnectionError, Proxies, connect};
use crate::error::{Answer, ApiError, ErrorKind, cause};
use crate::link::{below_api, next_page};
use crate::retry::{Repeat, retry_after, wait_before_retry};

/// Items of one page, the most that GitLab sends.
const PAGE: usize = 100;

/// A page of 100 jobs has about 300 KB.
const BODY_LIMIT: u64 = 32 << 20;

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `https://host[:port][/sub/path]`, without a slash at the end.
    pub url: String,
    /// A personal, project or group access token.
    pub token: Secret,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    pub proxies: Proxies,
    /// For one request with its answer.
    pub timeout: Duration,
}

/// A connection to one GitLab server. May be shared by threads.
pub struct Client {
    agent: Agent,
    url: String,
    token: Secret,
    sleep: Box<dyn Fn(Duration) + Send + Sync>,
    requests: AtomicU64,
}

/// One request before it is sent.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Path below `/api/v4` with its query.
    pub(crate) path: &'a str,
    /// The scope that the token needs, for the error message.
    pub(crate) scope: &'static str,
    pub(crate) repeat: Repeat,
    /// Calls with a runner's token carry that in the body, and no other token.
    pub(crate) with_our_token: bool,
}

impl Client {
    /// A client that waits between retries by calling `sleep`.
    pub fn new(
        settings: ClientSettings,
        sleep: impl Fn(Duration) + Send + Sync + 'static,
    ) -> Result<Self, ConnectionError> {
        let agent = connect(&settings.url, settings.ca_file.as_deref(), &settings.proxies, settings.timeout)?;
        Ok(Self {
            agent,
            url: settings.url,
            token: settings.token,
            sleep: Box::new(sleep),
            requests: AtomicU64::new(0),
        })
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, scope: &'static str) -> Result<T, ApiError> {
        let call = Call { method: Method::GET, path, scope, repeat: Repeat::Harmless, with_our_token: true };
        Ok(self.send(&call, None::<&()>)?.value)
    }

    /// All items of a list.
    pub(crate) fn get_list<T: DeserializeOwned>(
        &self,
        path: &str,
        scope: &'static str,
    ) -> Result<Vec<T>, ApiError> {
        Ok(self.get_pages(path, scope, |_| false)?.0)
    }

    /// Follows the pages of a list until `enough` says so of what there is. The flag says whether there would be more.
    pub(crate) fn get_pages<T: DeserializeOwned>(
        &self,
        path: &str,
        scope: &'static str,
        mut enough: impl FnMut(&[T]) -> bool,
    ) -> Result<(Vec<T>, bool), ApiError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut next = Some(format!("{path}{separator}per_page={PAGE}"));
        let mut items: Vec<T> = Vec::new();
        while let Some(path) = next {
            if !items.is_empty() && enough(&items) {
                return Ok((items, true));
            }
            let call = Call {
                method: Method::GET,
                path: &path,
                scope,
                repeat: Repeat::Harmless,
                with_our_token: true,
            };
            let page = self.send::<Vec<T>>(&call, None::<&()>)?;
            items.extend(page.value);
            next = page.next;
        }
        Ok((items, false))
    }

    /// Requests that were sent so far, repeated ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sends a call until it succeeds or another try cannot help. An answer without a body reads as JSON `null`.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<Page<T>, ApiError> {
        let mut attempt = 1;
        loop {
            let error = match self.send_once(call, body) {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let Some(wait) = wait_before_retry(&error, call.repeat, attempt, random::fraction()) else {
                return Err(error);
            };
            log::debug!("{error}; next try in {} ms", wait.as_millis());
            (self.sleep)(wait);
            attempt += 1;
        }
    }

    fn send_once<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<Page<T>, ApiError> {
        let url = format!("{}/api/v4{}", self.url, call.path);
        log::debug!("{} {url}", call.method);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut request =
            Request::builder().method(&call.method).uri(&url).header("Accept", "application/json");
        if call.with_our_token {
            request = request.header("PRIVATE-TOKEN", self.token.reveal());
        }
        let sent = match body {
            Some(body) => {
                let json = serde_json::to_vec(body).expect("our request bodies are plain structs");
                request
                    .header("Content-Type", "application/json")
                    .body(json)
                    .map(|request| self.agent.run(request))
            }
            // With a length of 0. Left to itself, ureq would send no length but a body in chunks, which some proxies refuse.
            None if call.method == Method::POST => {
                request.body(Vec::new()).map(|request| self.agent.run(request))
            }
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let response =
            sent.unwrap_or_else(|error| Err(error.into())).map_err(|error| call.failed(&url, error))?;
        call.read(url, response)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A value and the address of the one that continues it.
pub(crate) struct Page<T> {
    pub(crate) value: T,
    next: Option<String>,
}

impl Call<'_> {
    fn read<T: DeserializeOwned>(
        &self,
        url: String,
        mut response: Response<ureq::Body>,
    ) -> Result<Page<T>, ApiError> {
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(BODY_LIMIT).read_to_vec();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                let kind = ErrorKind::of_failure(&error);
                return Err(ApiError {
                    source: Some(cause(error)),
                    ..self.error(&url, None, kind, String::new())
                });
            }
        };
        if !response.status().is_success() {
            let answer = Answer { status, location: header(LOCATION), body: &body };
            let (kind, text) = ErrorKind::of_answer(&answer);
            let retry_after_s = header(RETRY_AFTER).and_then(|text| retry_after(text, clock::now()));
            return Err(ApiError { retry_after_s, ..self.error(&url, Some(status), kind, text) });
        }
        let json = if body.is_empty() { b"null" } else { body.as_slice() };
        let value = serde_json::from_slice(json).map_err(|error| {
            // The position is of use, the text is not quoted: it may hold a token.
            let text =
                format!("not the JSON that was expected (line {}, column {})", error.line(), error.column());
            self.error(&url, Some(status), ErrorKind::NotGitLab, text)
        })?;
        // The server may know itself by another name, behind a proxy for one. Our token goes to the host of the
        // configuration only.
        let next = header(LINK).and_then(next_page).map(|link| {
            let elsewhere = || {
                let text =
                    format!("the next page of the list is at `{link}`, which is no address of the API");
                self.error(&url, Some(status), ErrorKind::NotGitLab, text)
            };
            below_api(link).map(str::to_owned).ok_or_else(elsewhere)
        });
        Ok(Page { value, next: next.transpose()? })
    }

    fn failed(&self, url: &str, error: ureq::Error) -> ApiError {
        let kind = ErrorKind::of_failure(&error);
        ApiError { source: Some(cause(error)), ..self.error(url, None, kind, String::new()) }
    }

    fn error(&self, url: &str, status: Option<u16>, kind: ErrorKind, body: String) -> ApiError {
        let method = match self.method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            _ => "DELETE",
        };
        let url = url.to_owned();
        ApiError { method, url, scope: self.scope, status, body, kind, retry_after_s: None, source: None }
    }
}

/// One segment of a path: `group/project` becomes `group%2Fproject`.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_segment() {
        assert_eq!(segment("my-group/sub.group/a b"), "my-group%2Fsub.group%2Fa%20b");
    }
}
