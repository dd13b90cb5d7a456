//! `cache-archiver`: packs files into the cache directory.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::archive::Format;
use super::expand;
use super::files::{self, Files, Selection};
use crate::runner_log::{fatal, info, warning};

const KEPT_LOCALLY: &str =
    "No URL provided, cache will not be uploaded to shared cache server. Cache will be stored only locally.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// The archive
    #[arg(long)]
    file: PathBuf,
    /// The archive under the other naming scheme; renamed if the first is not there
    #[arg(long)]
    alternate_file: Option<PathBuf>,
    /// Minutes, for uploads
    #[arg(long, default_value_t = 0)]
    timeout: u64,
    #[arg(long, env = "CACHE_COMPRESSION_LEVEL", default_value = "")]
    compression_level: String,
    #[arg(long, env = "CACHE_COMPRESSION_FORMAT", default_value = "")]
    compression_format: String,
    #[arg(long)]
    env_file: Option<PathBuf>,
    #[arg(long)]
    url: Option<String>,
    #[arg(long)]
    gocloud_url: Option<String>,
}

/// Ends the process with exit code 1 if the archive can't be made.
pub(crate) fn run(mut arguments: Arguments) {
    if arguments.url.is_some() || arguments.gocloud_url.is_some() {
        fatal("the gitlab-runner stand-in lacks remote caches");
    }
    for path in arguments.selection.paths.iter_mut().chain(&mut arguments.selection.excludes) {
        *path = expand(path);
    }
    if let Some(alternate) = &arguments.alternate_file
        && !arguments.file.exists()
        && alternate.exists()
    {
        let renamed = make_parent(&arguments.file).and_then(|_| std::fs::rename(alternate, &arguments.file));
        match renamed {
            Ok(()) => info("Renamed alternate cache file to primary"),
            Err(error) => warning(format!("Failed to rename alternate cache file to primary: {error}")),
        }
    }
    let files = files::enumerate(&arguments.selection).unwrap_or_else(|error| fatal(error));
    if files.entries.is_empty() {
        warning("No files to cache.");
        return;
    }
    if is_up_to_date(&arguments.file, &files) {
        // Scripts always name both files; then the real program thinks of uploading what is there.
        if arguments.alternate_file.as_ref().is_some_and(|alternate| *alternate != arguments.file) {
            info("Primary cache does not exist remotely, uploading existing archive");
            info(KEPT_LOCALLY);
        } else {
            info("Archive is up to date!");
        }
        return;
    }
    if matches!(arguments.compression_format.to_lowercase().as_str(), "zipzstd" | "tarzstd") {
        fatal("the gitlab-runner stand-in lacks zstd archives");
    }
    pack(&arguments, &files).unwrap_or_else(|error| fatal(error));
    info(KEPT_LOCALLY);
}

/// No file is newer than the archive.
fn is_up_to_date(archive: &Path, files: &Files) -> bool {
    let Ok(made) = archive.metadata().and_then(|metadata| metadata.modified()) else { return false };
    files.entries.values().all(|metadata| metadata.modified().is_ok_and(|at| at <= made))
}

fn pack(arguments: &Arguments, files: &Files) -> io::Result<()> {
    let directory = make_parent(&arguments.file)?;
    let mut temporary = tempfile::Builder::new().prefix("archive_").tempfile_in(&directory)?;
    Format::Zip.pack(files, &arguments.compression_level, temporary.as_file_mut())?;
    temporary.persist(&arguments.file)?;
    #[expect(clippy::disallowed_methods, reason = "the real program writes it in place")]
    std::fs::write(directory.join("metadata.json"), "{}")
}

/// Makes the directory of a cache, for its owner only.
fn make_parent(file: &Path) -> io::Result<PathBuf> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    Ok(parent.to_owned())
}
