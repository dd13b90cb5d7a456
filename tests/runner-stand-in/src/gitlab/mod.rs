//! The part of GitLab's API that a runner uses.

pub(crate) mod artifacts;
pub(crate) mod request;
pub(crate) mod trace;
pub(crate) mod update;

use std::path::Path;
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::Runner;
use crate::{calendar, random, runner_log, version};

/// Answers that the client asks for again by itself, together with all from 512 on.
const RETRIED: [u16; 6] = [408, 429, 500, 502, 503, 504];
const ATTEMPTS: u32 = 5;
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    runner: Runner,
}

#[derive(Clone, Debug)]
pub(crate) struct JobCredentials {
    pub(crate) id: i64,
    pub(crate) token: String,
}

/// The answer, or why there is none.
pub(crate) type Answer = Result<Response<ureq::Body>, ureq::Error>;

impl Client {
    pub(crate) fn new(runner: &Runner) -> Self {
        Self::with_timeouts(runner, CLIENT_TIMEOUT, HEADER_TIMEOUT)
    }

    /// `timeout` is for a whole call, `header_timeout` for the start of its answer.
    pub(crate) fn with_timeouts(runner: &Runner, timeout: Duration, header_timeout: Duration) -> Self {
        let agent = agent(ca_certificates(runner), timeout, header_timeout);
        Self { agent, base: api_base(&runner.url), runner: runner.clone() }
    }

    /// Sends JSON with a token in its header.
    fn json(&self, method: Method, path: &str, token: (&str, &str), body: &serde_json::Value) -> Answer {
        let body = body.to_string();
        self.with_retries(|| {
            let request =
                self.request(method.clone(), path, token).header("Content-Type", "application/json");
            request.header("Accept", "application/json").body(body.clone())
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        (header, token): (&str, &str),
    ) -> ureq::http::request::Builder {
        let builder = Request::builder().method(method).uri(format!("{}{path}", self.base));
        builder
            .header("User-Agent", version::user_agent())
            .header("X-Request-Id", random::hex())
            .header(header, token)
    }

    fn with_retries<B: ureq::AsSendBody>(
        &self,
        request: impl Fn() -> ureq::http::Result<Request<B>>,
    ) -> Answer {
        let mut backoff = Duration::from_millis(100);
        for attempt in 1.. {
            let response = self.agent.run(request()?)?;
            let status = response.status().as_u16();
            let retried = RETRIED.contains(&status) || status >= 512;
            if !retried || attempt >= ATTEMPTS {
                return Ok(response);
            }
            let pause = wanted_pause(&response).unwrap_or(backoff);
            runner_log::log(
                runner_log::Level::Info,
                "Waiting before making the next call",
                &[("duration", &format!("{pause:?}")), ("status", &status)],
            );
            std::thread::sleep(pause);
            backoff = (backoff * 2).min(Duration::from_secs(60));
        }
        unreachable!("the loop ends with its last attempt")
    }
}

/// `<url>/api/v4/`, without a trailing `/` or `/ci` of the configured URL.
pub(crate) fn api_base(url: &str) -> String {
    let url = url.trim_end_matches('/');
    format!("{}/api/v4/", url.strip_suffix("/ci").unwrap_or(url))
}

/// An HTTP client that hands back every answer, redirects included.
pub(crate) fn agent(
    roots: Option<Vec<Certificate<'static>>>,
    timeout: Duration,
    header_timeout: Duration,
) -> Agent {
    let mut tls = TlsConfig::builder();
    tls = match roots {
        Some(certificates) => tls.root_certs(RootCerts::new_with_certs(&certificates)),
        None => tls.root_certs(RootCerts::PlatformVerifier),
    };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .timeout_recv_response(Some(header_timeout))
        .tls_config(tls.build());
    config.build().into()
}

/// `tls-ca-file`, else `certs/<host>.crt` beside the configuration file, else the system's.
fn ca_certificates(runner: &Runner) -> Option<Vec<Certificate<'static>>> {
    let host = runner.url.split("://").nth(1).unwrap_or("").split(['/', ':']).next().unwrap_or("");
    let beside = runner.directory.join("certs").join(format!("{host}.crt"));
    let path = runner.tls_ca_file.clone().or_else(|| beside.is_file().then_some(beside))?;
    Some(read_certificates(&path))
}

pub(crate) fn read_certificates(path: &Path) -> Vec<Certificate<'static>> {
    let content = std::fs::read(path).unwrap_or_else(|error| {
        runner_log::fatal(format!("cannot read the certificate file `{}`: {error}", path.display()))
    });
    let items = ureq::tls::parse_pem(&content).filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    items.collect()
}

/// What the server asks for in `RateLimit-ResetTime` or `Retry-After`, if that lies ahead.
fn wanted_pause(response: &Response<ureq::Body>) -> Option<Duration> {
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    let reset = header("RateLimit-ResetTime").and_then(http_date).and_then(|at| {
        #[expect(clippy::disallowed_methods, reason = "the server names a time of day")]
        at.duration_since(SystemTime::now()).ok()
    });
    let after = || header("Retry-After")?.parse().ok().map(Duration::from_secs);
    reset.or_else(after).filter(|pause| !pause.is_zero())
}

/// Reads `Wed, 21 Oct 2015 07:28:00 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    let mut words = text.split_once(", ")?.1.split([' ', ':']);
    let number = |words: &mut dyn Iterator<Item = &str>| words.next()?.parse::<u8>().ok();
    let day = number(&mut words)?;
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(words.next()?)? / 3 + 1;
    let year = words.next()?.parse().ok()?;
    let (hour, minute, second) = (number(&mut words)?, number(&mut words)?, number(&mut words)?);
    let date = (year, u8::try_from(month).ok()?, day, hour, minute, second);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(calendar::seconds(date)))
}

/// What the answers to job updates and log chunks have in common.
#[derive(Debug, Default)]
struct RemoteState {
    status: String,
    interval: Option<Duration>,
}

impl RemoteState {
    fn of(response: &Response<ureq::Body>) -> Self {
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let interval = header("X-GitLab-Trace-Update-Interval").and_then(|text| text.parse().ok());
        Self {
            status: header("Job-Status").unwrap_or("").to_owned(),
            interval: interval.map(Duration::from_secs),
        }
    }

    /// The job is no longer ours.
    fn is_failed(&self, code: u16) -> bool {
        matches!(self.status.as_str(), "canceled" | "failed") || code == 403
    }

    /// The script shall stop, after_script shall run.
    fn is_canceling(&self) -> bool {
        self.status == "canceling"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let at = |text| http_date(text).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(at("Wed, 21 Oct 2015 07:28:00 GMT"), 1_445_412_480);
        assert_eq!(at("Thu, 29 Feb 2024 00:00:01 GMT"), 1_709_164_801);
        assert_eq!(at("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
        assert_eq!(http_date("soon"), None);
    }

    #[test]
    fn the_api_lies_below_the_url() {
        assert_eq!(api_base("http://h:1/"), "http://h:1/api/v4/");
        assert_eq!(api_base("http://h/sub/ci"), "http://h/sub/api/v4/");
    }
}
