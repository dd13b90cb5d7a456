//! The commands that generated scripts call: artifacts up and down, caches in and out of a directory.

mod archive;
pub(crate) mod artifacts_downloader;
pub(crate) mod artifacts_uploader;
pub(crate) mod cache_archiver;
pub(crate) mod cache_extractor;
mod extract;
mod files;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::Runner;
use crate::duration;
use crate::runner_log::{self, fatal};

/// Who uploads or downloads. The script gives these, never a configuration file.
#[derive(Clone, Debug, Args)]
pub(crate) struct Credentials {
    #[arg(long, env = "CI_SERVER_URL", default_value = "")]
    url: String,
    #[arg(long, env = "CI_JOB_TOKEN", default_value = "")]
    token: String,
    #[arg(long, default_value_t = 0)]
    id: i64,
    #[arg(long, env = "CI_SERVER_TLS_CA_FILE")]
    tls_ca_file: Option<PathBuf>,
}

impl Credentials {
    fn runner(&self) -> Runner {
        Runner { url: self.url.clone(), tls_ca_file: self.tls_ca_file.clone(), ..Runner::default() }
    }

    fn job(&self) -> crate::gitlab::JobCredentials {
        crate::gitlab::JobCredentials { id: self.id, token: self.token.clone() }
    }

    /// Ends the process if something is missing.
    fn check(&self) {
        if self.url.is_empty() || self.token.is_empty() {
            fatal("Missing runner credentials");
        }
        if self.id <= 0 {
            fatal("Missing build ID");
        }
    }
}

/// Why an attempt failed, and whether another may help.
#[derive(Debug, PartialEq, Eq)]
struct AttemptError {
    message: String,
    /// How many tries this kind of failure is worth; 1 is none but the first.
    tries: u32,
}

/// Tries again with growing pauses; ends the process when it is of no use any more.
fn with_retries(mut attempt: impl FnMut(u32) -> Result<(), AttemptError>) {
    let mut pause = Duration::from_secs(1);
    for number in 1.. {
        let Err(error) = attempt(number) else { return };
        if number >= error.tries {
            fatal(error.message);
        }
        runner_log::log(runner_log::Level::Warning, "Retrying...", &[("error", &error.message)]);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Variables in names and paths, as the real program expands them: from the environment.
#[expect(clippy::disallowed_methods, reason = "the script's environment is the argument")]
fn expand(text: &str) -> String {
    crate::job::variables::expand(text, |name| std::env::var(name).unwrap_or_default())
}

fn go_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| format!("invalid duration \"{text}\""))
}
