//! Removing directories of jobs, whoever owns what is in them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::failure::{StageFailure, chain};
use crate::pod::driver;
use crate::pod::spec::{Mapping, PodCommand, PodSpec, RootSpec};

/// How often a tree is tried in which a process that is ending still writes, and the pause before the next try.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Removes `trees`. In a pod with the ids of the job: files of subordinate ids and directories of mode 000 are refused
/// to us otherwise. A tree that is not there is fine: `cleanup` may come twice, and beside the next job's sweep.
pub(crate) fn remove(trees: &[PathBuf], mapping: Mapping) -> Result<(), StageFailure> {
    let there = trees.iter().filter(|tree| tree.symlink_metadata().is_ok());
    let words: Vec<String> = there.map(|tree| tree.display().to_string()).collect();
    if words.is_empty() {
        return Ok(());
    }
    let spec = PodSpec {
        hostname: "cleanup".to_owned(),
        umask: 0o022,
        root: RootSpec::Host,
        command: PodCommand {
            program: PathBuf::from("/proc/self/exe"),
            args: ["remove".to_owned()].into_iter().chain(words.iter().cloned()).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            stdin: None,
            output_owner: 0,
            entry: None,
        },
    };
    let hint = "the next job on this node tries again";
    match driver::run(&spec, mapping) {
        Ok(outcome) if outcome.code == 0 => Ok(()),
        Ok(_) => Err(StageFailure::system_with_hint(format!("cannot remove `{}`", words.join("`, `")), hint)),
        Err(error) => Err(StageFailure::system_with_hint(chain(&error), hint)),
    }
}

/// Body of `meta-executor remove TREE...`, in the pod. Goes on after a failure; says what failed. Links are removed, never
/// followed.
pub(crate) fn main(trees: &[String]) -> Result<(), String> {
    let failures: Vec<String> = trees
        .iter()
        .filter_map(|tree| {
            remove_tree(Path::new(tree)).err().map(|error| format!("cannot remove `{tree}`: {error}"))
        })
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn remove_tree(tree: &Path) -> std::io::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::remove_dir_all(tree) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries < TRIES => sleep(PAUSE),
            // Without root's rights (level C) even our own directories can be closed to us.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && tries == 1 => open_up(tree),
            result => return result,
        }
    }
}

/// Gives us all rights to the directories of `tree` that are ours. Failures show when it is removed.
fn open_up(tree: &Path) {
    let _ = fs::set_permissions(tree, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(tree).into_iter().flatten().flatten() {
        // Not for links: their targets are somebody else's.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_and_what_is_gone_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::File::create(outside.join("kept")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        let words = [directory.path().join("none"), tree.clone()].map(|path| path.display().to_string());
        main(&words).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
    }
}
