//! `cache-extractor`: unpacks a cache from the cache directory.
#![expect(clippy::disallowed_methods, reason = "archives are unpacked where the script is")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::extract;
use crate::runner_log::{fatal, info, warning};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The archive
    #[arg(long)]
    file: PathBuf,
    /// Minutes, for downloads
    #[arg(long, default_value_t = 0)]
    timeout: u64,
    #[arg(long)]
    env_file: Option<PathBuf>,
    #[arg(long)]
    url: Option<String>,
    #[arg(long)]
    gocloud_url: Option<String>,
}

/// Exit code 1 if there is no such cache; the script goes on without.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.url.is_some() || arguments.gocloud_url.is_some() {
        fatal("the gitlab-runner stand-in lacks remote caches");
    }
    info(
        "No URL provided, cache will not be downloaded from shared cache server. \
         Instead a local version of cache will be extracted.",
    );
    if !arguments.file.exists() {
        warning("Cache file does not exist");
        return ExitCode::FAILURE;
    }
    let here = std::env::current_dir().unwrap_or_else(|_| fatal("Unable to get working directory"));
    extract::unpack(&arguments.file, &here).unwrap_or_else(|error| fatal(error));
    ExitCode::SUCCESS
}
