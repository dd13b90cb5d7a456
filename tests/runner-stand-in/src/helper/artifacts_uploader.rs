//! `artifacts-uploader`: packs files and sends them to GitLab.

use std::io::{Seek, SeekFrom};
use std::time::Duration;

use clap::Args;

use super::archive::Format;
use super::files::{self, Selection};
use super::{AttemptError, Credentials, expand, go_duration, with_retries};
use crate::gitlab::Client;
use crate::gitlab::artifacts::{Artifact, Uploaded};
use crate::runner_log::{Level, fatal, log};

const TRIES: u32 = 3;
const TRIES_WHILE_UNAVAILABLE: u32 = 6;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    credentials: Credentials,
    #[command(flatten)]
    selection: Selection,
    /// The name of the archive
    #[arg(long, default_value = "artifacts")]
    name: String,
    #[arg(long, default_value = "")]
    expire_in: String,
    #[arg(long, default_value = "")]
    artifact_format: String,
    #[arg(long, default_value = "")]
    artifact_type: String,
    #[arg(long, env = "ARTIFACT_COMPRESSION_LEVEL", default_value = "")]
    compression_level: String,
    #[arg(long, value_parser = go_duration, default_value = "1h")]
    timeout: Duration,
    #[arg(long, value_parser = go_duration, default_value = "10m")]
    response_header_timeout: Duration,
}

/// Ends the process with exit code 1 if the upload fails. Nothing to upload is no failure.
pub(crate) fn run(mut arguments: Arguments) {
    arguments.credentials.check();
    for path in arguments.selection.paths.iter_mut().chain(&mut arguments.selection.excludes) {
        *path = expand(path);
    }
    let files = files::enumerate(&arguments.selection).unwrap_or_else(|error| fatal(error));
    if files.entries.is_empty() {
        log(Level::Error, "No files to upload", &[]);
        return;
    }
    let format = Format::of(&arguments.artifact_format).unwrap_or_else(|message| fatal(message));
    let mut archive = tempfile::tempfile().unwrap_or_else(|error| fatal(error));
    let packed = format.pack(&files, &arguments.compression_level, &mut archive);
    packed.unwrap_or_else(|error| fatal(error));
    let artifact = Artifact {
        file_name: format.file_name(&expand(&arguments.name)),
        expire_in: arguments.expire_in,
        format: arguments.artifact_format,
        kind: arguments.artifact_type,
    };
    let limits = (arguments.timeout, arguments.response_header_timeout);
    let mut runner = arguments.credentials.runner();
    let job = arguments.credentials.job();
    with_retries(|_| {
        let rewound = archive.try_clone().and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file));
        let file = rewound.map_err(|error| AttemptError { message: error.to_string(), tries: 1 })?;
        match Client::with_timeouts(&runner, limits.0, limits.1).upload_artifact(&job, &artifact, file) {
            Uploaded::Done => Ok(()),
            Uploaded::Redirected(host) => {
                log(Level::Info, "Upload request redirected", &[("new-url", &host)]);
                runner.url = host;
                Err(AttemptError { message: "request redirected".to_owned(), tries: TRIES })
            }
            Uploaded::Forbidden => Err(AttemptError { message: "permission denied".to_owned(), tries: 1 }),
            Uploaded::TooLarge => Err(AttemptError { message: "too large".to_owned(), tries: 1 }),
            Uploaded::Unavailable => Err(AttemptError {
                message: "service unavailable".to_owned(),
                tries: TRIES_WHILE_UNAVAILABLE,
            }),
            Uploaded::Failed(message) => Err(AttemptError { message, tries: TRIES }),
        }
    });
}
