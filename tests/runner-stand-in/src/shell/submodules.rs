//! Submodules, for `GIT_SUBMODULE_STRATEGY` normal and recursive.

use super::scripts::Stop;
use super::sources::EXTERNAL_CONFIG_VARIABLE;
use super::writer::Writer;
use crate::build::Build;

pub(super) fn update(build: &Build, recursive: bool, writer: &mut Writer) -> Result<(), Stop> {
    let settings = &build.settings;
    let depth = settings.submodule_depth.to_string();
    announce(recursive, settings.submodule_depth, writer);
    if settings.submodule_paths.iter().any(|path| path == ":(exclude)") {
        return Err(Stop::Error(format!(
            "GIT_SUBMODULE_PATHS: invalid submodule pathspec {:?}",
            settings.submodule_paths
        )));
    }
    let recursive_flag: &[&str] = if recursive { &["--recursive"] } else { &[] };
    let mut paths: Vec<&str> = settings.submodule_paths.iter().map(String::as_str).collect();
    if !paths.is_empty() {
        paths.insert(0, "--");
    }
    let include = format!("include.path={EXTERNAL_CONFIG_VARIABLE}");
    // Submodules don't see the main repository's configuration, so it is named for each command.
    let with_credentials = |words: &[&str]| -> Vec<String> {
        ["git", "-c", &include].iter().chain(words).map(|word| (*word).to_owned()).collect()
    };
    let sync = [&["git", "submodule", "sync"], recursive_flag, &paths].concat();
    let mut update = [&["submodule", "update", "--init"], recursive_flag].concat();
    if settings.submodule_depth > 0 {
        update.extend(["--depth", &depth]);
    }
    update.extend(settings.submodule_update_flags.iter().map(String::as_str));
    update.extend(&paths);
    let foreach = [&["submodule", "foreach"], recursive_flag].concat();
    let clean_flags: Vec<&str> = match settings.git_clean_flags.as_slice() {
        [] => vec!["-ffdx"],
        flags => flags.iter().map(String::as_str).collect(),
    };
    let in_each = [&["git"], foreach.as_slice()].concat();
    let clean = [in_each.as_slice(), &["git", "clean"], &clean_flags].concat();
    let reset = [in_each.as_slice(), &["git", "reset", "--hard"]].concat();

    writer.command(&["git", "submodule", "init"]);
    writer.command(&sync);
    writer.command(&clean);
    writer.command(&reset);
    writer.if_command_expanding(&as_words(&with_credentials(&update)));
    writer.notice("Updated submodules");
    writer.command(&sync);
    writer.otherwise();
    writer.warning("Updating submodules failed. Retrying...");
    if settings.submodule_update_flags.iter().any(|flag| flag.eq_ignore_ascii_case("--remote")) {
        let fetch =
            [foreach.as_slice(), &["git", "fetch", "origin", "+refs/heads/*:refs/remotes/origin/*"]].concat();
        writer.command_expanding(&as_words(&with_credentials(&fetch)));
    }
    writer.command(&sync);
    writer.command_expanding(&as_words(&with_credentials(&update)));
    writer.command(&reset);
    writer.end_if();
    writer.command(&clean);
    writer.notice("Configuring submodules to use parent git credentials...");
    let all: &[&str] = if recursive { &[] } else { &["--recursive"] };
    let configure = ["git", "config", "--replace-all", "include.path", EXTERNAL_CONFIG_VARIABLE];
    writer.command_expanding(&[in_each.as_slice(), all, &configure].concat());
    if !settings.lfs_skip_smudge {
        writer.if_command(&["git", "lfs", "version"]);
        writer.notice("Pulling LFS files...");
        let pull = [foreach.as_slice(), &["git", "lfs", "pull"]].concat();
        writer.command_expanding(&as_words(&with_credentials(&pull)));
        writer.end_if();
    }
    Ok(())
}

fn announce(recursive: bool, depth: i64, writer: &mut Writer) {
    let recursively = if recursive { " recursively" } else { "" };
    let depth = if depth > 0 { format!(" with git depth set to {depth}") } else { String::new() };
    writer.notice(&format!("Updating/initializing submodules{recursively}{depth}..."));
}

fn as_words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
