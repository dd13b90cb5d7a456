//! `download_artifacts` and `upload_artifacts_on_*`.

use std::time::Duration;

use super::scripts::{self, Stop};
use super::writer::Writer;
use crate::build::Build;
use crate::duration;
use crate::job::{Artifact, happens};

pub(super) fn download(build: &Build, runner: &str, writer: &mut Writer) -> Result<(), Stop> {
    let dependencies: Vec<_> = build
        .job
        .dependencies
        .iter()
        .flatten()
        .filter(|job| !job.artifacts_file.filename.is_empty())
        .collect();
    if dependencies.is_empty() {
        return Err(Stop::Nothing);
    }
    scripts::exports(build, writer);
    scripts::enter_project(build, writer);
    writer.guard_runner(runner, "Artifacts downloading", |writer| {
        for job in dependencies {
            let id = job.id.to_string();
            writer.notice(&format!("Downloading artifacts for {} ({id})...", job.name));
            let url = &build.runner.url;
            writer.command(&[
                runner,
                "artifacts-downloader",
                "--url",
                url,
                "--token",
                &job.token,
                "--id",
                &id,
            ]);
        }
    });
    Ok(())
}

pub(super) fn upload(build: &Build, runner: &str, success: bool, writer: &mut Writer) -> Result<(), Stop> {
    let wanted: Vec<_> = build
        .job
        .artifacts
        .iter()
        .flatten()
        .filter(|artifact| happens(&artifact.when, success))
        .map(|artifact| (artifact, selection(artifact)))
        .filter(|(_, selection)| !selection.is_empty())
        .collect();
    if wanted.is_empty() {
        return Err(Stop::Nothing);
    }
    scripts::exports(build, writer);
    scripts::enter_project(build, writer);
    for (artifact, selection) in wanted {
        let words = upload_words(build, runner, artifact, selection);
        writer.guard_runner(runner, "Uploading artifacts", |writer| {
            writer.notice("Uploading artifacts...");
            writer.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        });
    }
    Ok(())
}

/// Which files: paths, exclusions, and whether those that git doesn't know.
fn selection(artifact: &Artifact) -> Vec<String> {
    let flag = |name: &'static str| move |path: &String| [name.to_owned(), path.clone()];
    let mut words: Vec<String> = artifact.paths.iter().flatten().flat_map(flag("--path")).collect();
    words.extend(artifact.exclude.iter().flatten().flat_map(flag("--exclude")));
    if artifact.untracked {
        words.push("--untracked".to_owned());
    }
    words
}

fn upload_words(build: &Build, runner: &str, artifact: &Artifact, selection: Vec<String>) -> Vec<String> {
    let limits = &build.runner.artifact;
    let limit = |configured: &Option<String>, default| {
        let limit =
            configured.as_ref().and_then(|text| duration::parse(text)).filter(|limit| !limit.is_zero());
        duration::print(limit.unwrap_or(default))
    };
    let mut words: Vec<String> =
        [runner, "artifacts-uploader", "--url", &build.runner.url, "--token", &build.job.token]
            .map(str::to_owned)
            .into();
    words.extend(["--id".to_owned(), build.job.id.to_string()]);
    words.extend(["--timeout".to_owned(), limit(&limits.upload_timeout, Duration::from_secs(3600))]);
    let header = limit(&limits.response_header_timeout, Duration::from_secs(600));
    words.extend(["--response-header-timeout".to_owned(), header]);
    words.extend(selection);
    for (flag, value) in [
        ("--name", &artifact.name),
        ("--expire-in", &artifact.expire_in),
        ("--artifact-format", &artifact.artifact_format),
        ("--artifact-type", &artifact.artifact_type),
    ] {
        if !value.is_empty() {
            words.extend([flag.to_owned(), value.clone()]);
        }
    }
    words
}
