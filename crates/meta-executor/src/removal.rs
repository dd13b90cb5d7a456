//! Removing directories of jobs, whoever owns what is in them.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{StageFailure, chain};
use crate::owner;
use crate::pod::driver;
use crate::pod::spec::{Mapping, PodCommand, PodSpec, RootSpec};

/// How often a tree is tried in which a process that is ending still writes, and the pause before the next try.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Removes `trees`. What is refused to us, because subordinate ids own it or a process that is ending still writes there, is
/// removed in a pod with the ids of the job; most jobs leave nothing of the kind. A tree that is not there is fine: `cleanup`
/// may come twice, and beside the next job's sweep.
pub(crate) fn remove(trees: &[PathBuf], mapping: Mapping) -> Result<(), StageFailure> {
    let refused = trees.iter().filter(|tree| remove_own(tree).is_err());
    let words: Vec<String> = refused.map(|tree| tree.display().to_string()).collect();
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
        match remove_own(tree) {
            Err(error) if is_busy(&error) && tries < TRIES => sleep(PAUSE),
            result => return result,
        }
    }
}

/// Removes `tree`, if this process may remove all of it.
fn remove_own(tree: &Path) -> std::io::Result<()> {
    let removed = remove_owner_last(tree).or_else(|error| {
        if error.kind() != ErrorKind::PermissionDenied {
            return Err(error);
        }
        // Even our own directories can be closed to us: overlayfs's work directory always is.
        open_up(CWD, tree.as_os_str());
        remove_owner_last(tree)
    });
    if tree.symlink_metadata().is_err() { Ok(()) } else { removed }
}

/// Whether somebody makes or removes something in the tree meanwhile.
fn is_busy(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound)
}

/// What is left after a failure still says whose it was, so that the next job's sweep finds it.
fn remove_owner_last(tree: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != owner::FILE {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(tree)
}

/// Gives us all rights to the directory `name` of `parent` and to those below it that are ours. Each is held open, so that none
/// can become a link to somebody else's meanwhile. Failures show when the tree is removed.
fn open_up(parent: BorrowedFd<'_>, name: &OsStr) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = openat(parent, name, flags, Mode::empty()) else { return };
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(directory.as_fd(), &entry.file_name());
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

    #[test]
    fn closed_directories_are_opened_and_links_in_them_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        fs::create_dir_all(tree.join("work/work")).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("work/link")).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&outside, 0o500);
        mode(&tree.join("work/work"), 0);
        mode(&tree.join("work"), 0o100);
        open_up(CWD, tree.as_os_str());
        let found = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((found(&tree.join("work/work")), found(&outside)), (0o700, 0o500));
        remove_own(&tree).unwrap();
        assert!(!tree.exists() && outside.exists());
    }
}
