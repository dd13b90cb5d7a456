//! From a stage to its script.

use super::writer::Writer;
use super::{artifacts, cache, cleanup, sources, user};
use crate::build::Build;
use crate::executor::Target;
use crate::job::variables::{Variable, Variables};

/// `KEY=VALUE` lines that each stage hands to the next.
pub(super) const ENV_FILE: &str = "gitlab_runner_env";
pub(super) const MASKING_FILE: &str = "masking.db";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Prepare,
    GetSources,
    ClearWorktree,
    RestoreCache,
    DownloadArtifacts,
    /// `script`, `release` and the like, in lower case.
    Step(String),
    AfterScript,
    ArchiveCache {
        success: bool,
    },
    UploadArtifacts {
        success: bool,
    },
    CleanupFileVariables,
}

impl Stage {
    /// As section marks and drivers know it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Prepare => "prepare_script",
            Self::GetSources => "get_sources",
            Self::ClearWorktree => "clear_worktree",
            Self::RestoreCache => "restore_cache",
            Self::DownloadArtifacts => "download_artifacts",
            Self::Step(name) => return format!("step_{name}"),
            Self::AfterScript => "after_script",
            Self::ArchiveCache { success: true } => "archive_cache",
            Self::ArchiveCache { success: false } => "archive_cache_on_failure",
            Self::UploadArtifacts { success: true } => "upload_artifacts_on_success",
            Self::UploadArtifacts { success: false } => "upload_artifacts_on_failure",
            Self::CleanupFileVariables => "cleanup_file_variables",
        }
        .to_owned()
    }

    /// The headline in the job log.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Prepare => "Preparing environment",
            Self::GetSources => "Getting source from Git repository",
            Self::ClearWorktree => "Deleting all tracked and untracked files due to source fetch failure",
            Self::RestoreCache => "Restoring cache",
            Self::DownloadArtifacts => "Downloading artifacts",
            Self::Step(name) => return format!("Executing \"step_{name}\" stage of the job script"),
            Self::AfterScript => "Running after_script",
            Self::ArchiveCache { success: true } => "Saving cache for successful job",
            Self::ArchiveCache { success: false } => "Saving cache for failed job",
            Self::UploadArtifacts { success: true } => "Uploading artifacts for successful job",
            Self::UploadArtifacts { success: false } => "Uploading artifacts for failed job",
            Self::CleanupFileVariables => "Cleaning up project directory and file based variables",
        }
        .to_owned()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Text(String),
    /// The stage has nothing to do.
    Nothing,
}

/// What ends the writing of a script early.
#[derive(Debug)]
pub(super) enum Stop {
    Nothing,
    /// The job can't be run as it asks.
    Error(String),
}

/// Writes a stage's script. The error is a message for the job log, reported as a system failure.
pub(crate) fn generate(build: &Build, target: Target<'_>, stage: &Stage) -> Result<Script, String> {
    let mut writer = Writer::new(build);
    let runner = target.runner_command;
    let written = match stage {
        Stage::Prepare => {
            prepare(build, &mut writer);
            Ok(())
        }
        Stage::GetSources => sources::get_sources(build, &mut writer),
        Stage::ClearWorktree => {
            sources::clear_worktree(build, &mut writer);
            Ok(())
        }
        Stage::RestoreCache => cache::restore(build, runner, &mut writer),
        Stage::DownloadArtifacts => artifacts::download(build, runner, &mut writer),
        Stage::Step(name) => user::step(build, name, &mut writer),
        Stage::AfterScript => user::after_script(build, &mut writer),
        Stage::ArchiveCache { success } => cache::archive(build, runner, *success, &mut writer),
        Stage::UploadArtifacts { success } => artifacts::upload(build, runner, *success, &mut writer),
        Stage::CleanupFileVariables => {
            cleanup::cleanup(build, &mut writer);
            Ok(())
        }
    };
    match written {
        Ok(()) => Ok(Script::Text(writer.finish(target.shell))),
        Err(Stop::Nothing) => Ok(Script::Nothing),
        Err(Stop::Error(message)) => Err(message),
    }
}

fn prepare(build: &Build, writer: &mut Writer) {
    let via = if build.hostname.is_empty() { String::new() } else { format!(" via {}", build.hostname) };
    writer.line(&format!("echo {}", super::escape::go_quote(&format!("Running on $(hostname){via}..."))));
    for name in [ENV_FILE, MASKING_FILE] {
        let file = writer.temporary_file(name);
        writer.remove_file(&file);
    }
}

/// Exports all variables, writing file variables to disk, and takes over what earlier stages left.
pub(super) fn exports(build: &Build, writer: &mut Writer) {
    for variable in build.variables().iter() {
        writer.variable(variable);
    }
    environment_file(writer);
}

/// The same for a stage after which the files are removed: their paths are exported, their content is not written.
pub(super) fn exports_without_files(build: &Build, writer: &mut Writer) {
    let variables: Variables = build.variables().clone();
    for variable in variables.iter() {
        if variable.file {
            let path = writer.temporary_file(&variable.key);
            writer.variable(&Variable::internal(&variable.key, path));
        } else {
            writer.variable(variable);
        }
    }
    environment_file(writer);
}

fn environment_file(writer: &mut Writer) {
    let file = writer.temporary_file(ENV_FILE);
    writer.variable(&Variable::internal("GITLAB_ENV", &file));
    writer.source_env(&file);
}

pub(super) fn enter_project(build: &Build, writer: &mut Writer) {
    writer.command(&["cd", &build.directories.project]);
}

#[cfg(test)]
mod tests;
