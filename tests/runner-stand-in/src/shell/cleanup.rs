//! `cleanup_file_variables`, and what of git's files is removed before and after a job.

use super::paths::join;
use super::scripts::{self, ENV_FILE, MASKING_FILE};
use super::sources::{self, EXTERNAL_CONFIG, TEMPLATE};
use super::writer::Writer;
use crate::build::Build;
use crate::build::settings::{GitStrategy, SubmoduleStrategy};

pub(super) fn cleanup(build: &Build, writer: &mut Writer) {
    scripts::exports_without_files(build, writer);
    sources::reject_credentials(build, writer);
    for name in [ENV_FILE, MASKING_FILE, EXTERNAL_CONFIG, ".glr.gconf"] {
        let file = writer.temporary_file(name);
        writer.remove_file(&file);
    }
    for variable in build.variables().iter().filter(|variable| variable.file) {
        let file = writer.temporary_file(&variable.key);
        writer.remove_file(&file);
    }
    if build.flag("FF_ENABLE_JOB_CLEANUP") {
        project_directory(build, writer);
    }
    git_leftovers(build, writer);
    writer.remove_file(&join(&build.directories.root, ".gitlab-build-uid-gid"));
}

fn project_directory(build: &Build, writer: &mut Writer) {
    match build.settings.git_strategy {
        GitStrategy::Clone | GitStrategy::Empty => writer.remove_directory(&build.directories.project),
        GitStrategy::None => writer.notice("Skipping build directory cleanup step"),
        GitStrategy::Fetch => {
            scripts::enter_project(build, writer);
            sources::clean(build, writer);
            writer.command(&["git", "reset", "--hard"]);
            let foreach: &[&str] = match build.settings.submodule_strategy {
                SubmoduleStrategy::Normal => &["git", "submodule", "foreach"],
                SubmoduleStrategy::Recursive => &["git", "submodule", "foreach", "--recursive"],
                SubmoduleStrategy::None | SubmoduleStrategy::Invalid => return,
            };
            let flags: Vec<&str> = build.settings.git_clean_flags.iter().map(String::as_str).collect();
            if !flags.is_empty() {
                writer.command(&[foreach, &["git", "clean"], &flags].concat());
            }
            writer.command(&[foreach, &["git", "reset", "--hard"]].concat());
        }
    }
}

/// Locks of a git that was killed, and configuration and hooks that an earlier job may have left.
pub(super) fn git_leftovers(build: &Build, writer: &mut Writer) {
    let git = join(&build.directories.project, ".git");
    let modules = join(&git, "modules");
    let fetched = matches!(build.settings.git_strategy, GitStrategy::Clone | GitStrategy::Fetch);
    let with_submodules = fetched
        && matches!(
            build.settings.submodule_strategy,
            SubmoduleStrategy::Normal | SubmoduleStrategy::Recursive
        );
    for file in ["index.lock", "shallow.lock", "HEAD.lock", "hooks/post-checkout", "config.lock"] {
        writer.remove_file(&join(&git, file));
        if with_submodules {
            writer.remove_files_below(&modules, file.rsplit('/').next().unwrap_or(file));
        }
    }
    writer.remove_files_below(&join(&git, "refs"), "*.lock");

    let by_default = build.runner.executor != "shell" && build.settings.git_strategy != GitStrategy::None;
    if !build.runner.clean_git_config.unwrap_or(by_default) {
        return;
    }
    for directory in [writer.temporary_file(TEMPLATE), git] {
        writer.remove_file(&join(&directory, "config"));
        writer.remove_directory(&join(&directory, "hooks"));
    }
    if with_submodules {
        writer.remove_files_below(&modules, "config");
        writer.remove_directories_below(&modules, "hooks");
    }
}
