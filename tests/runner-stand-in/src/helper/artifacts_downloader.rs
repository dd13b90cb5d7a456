//! `artifacts-downloader`: fetches another job's archive and unpacks it here.
#![expect(clippy::disallowed_methods, reason = "archives are unpacked where the script is")]

use clap::Args;

use super::{AttemptError, Credentials, extract, with_retries};
use crate::gitlab::Client;
use crate::gitlab::artifacts::Downloaded;
use crate::runner_log::fatal;

const TRIES: u32 = 3;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    credentials: Credentials,
    /// Ask for a redirect to the storage; a job sets it by its feature flag
    #[arg(long, env = "FF_USE_DIRECT_DOWNLOAD", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    direct_download: String,
}

/// Ends the process with exit code 1 if the archive can't be had or unpacked.
pub(crate) fn run(arguments: &Arguments) {
    arguments.credentials.check();
    let client = Client::new(&arguments.credentials.runner());
    let job = arguments.credentials.job();
    let file = tempfile::Builder::new().prefix("artifacts").tempfile().unwrap_or_else(|error| fatal(error));
    with_retries(|attempt| {
        let direct = attempt == 1 && arguments.direct_download == "true";
        let message = match client.download_artifact(&job, direct, file.path()) {
            Downloaded::Done => return Ok(()),
            Downloaded::NotFound => "file does not exist",
            Downloaded::Forbidden => "permission denied",
            Downloaded::Failed => {
                return Err(AttemptError { message: "invalid argument".to_owned(), tries: TRIES });
            }
        };
        Err(AttemptError { message: message.to_owned(), tries: 1 })
    });
    let here = std::env::current_dir().unwrap_or_else(|_| fatal("Unable to get working directory"));
    extract::unpack(file.path(), &here).unwrap_or_else(|error| fatal(error));
}
