//! Removes a directory tree of any depth: a loop of `mkdir` and `cd` makes one whose paths are too long for the kernel and
//! whose directories are more than a process may open.
//!
//! So directories are held open on the way down, to a fixed depth. What is deeper is first moved to the top of the tree.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use meta_host::random;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, chmod, fchmod, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::owner;

/// Levels below the top that are held open.
const DEEPEST: usize = 64;

/// Removes the directory `name` of `parent`, or whatever has that name. Links are removed and never followed, also when one
/// comes in the place of a directory meanwhile. What is gone already is fine.
///
/// Directories of ours are opened up where their mode stands in the way: overlayfs's work directory always does. What says
/// whose the tree is goes last, so that the next job's sweep finds what is left after a failure.
pub(crate) fn remove(parent: impl AsFd, name: &Path) -> Result<(), Errno> {
    let parent = parent.as_fd();
    let top = match open(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return or_gone(unlinkat(parent, name, AtFlags::empty())),
        top => top?,
    };
    let mut pass = Pass { top: top.as_fd(), lifted: 0 };
    loop {
        let before = pass.lifted;
        pass.empty(Dir::read_from(&top)?, 0)?;
        if pass.lifted == before {
            break;
        }
    }
    unlink(top.as_fd(), owner::FILE, AtFlags::empty())?;
    or_gone(unlinkat(parent, name, AtFlags::REMOVEDIR))
}

struct Pass<'a> {
    top: BorrowedFd<'a>,
    /// How many directories were moved to the top.
    lifted: u64,
}

impl Pass<'_> {
    /// Removes what is in a directory that is `depth` levels below the top.
    fn empty(&mut self, mut directory: Dir, depth: usize) -> Result<(), Errno> {
        while let Some(entry) = directory.read() {
            let entry = entry?;
            let name = entry.file_name();
            let stays =
                [c".", c".."].contains(&name) || (depth == 0 && name.to_bytes() == owner::FILE.as_bytes());
            if !stays {
                self.remove(directory.fd()?, &entry, depth)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, directory: BorrowedFd<'_>, entry: &DirEntry, depth: usize) -> Result<(), Errno> {
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory {
            match unlink(directory, name, AtFlags::empty()) {
                // Not every file system says in its lists what is a directory.
                Err(Errno::ISDIR) => {}
                result => return result,
            }
        }
        if depth == DEEPEST {
            return self.lift(directory, name);
        }
        match open(directory, name) {
            Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => unlink(directory, name, AtFlags::empty()),
            child => {
                self.empty(Dir::new(child?)?, depth + 1)?;
                unlink(directory, name, AtFlags::REMOVEDIR)
            }
        }
    }

    /// Moves a directory to the top, under a name that nobody else has thought of.
    fn lift(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        // It is written to, because its `..` changes.
        match open_up(directory, name) {
            Err(Errno::NOENT) => return Ok(()),
            result => result?,
        }
        self.lifted += 1;
        let new = format!("deep-{:016x}-{}", random::number(), self.lifted);
        or_gone(renameat(directory, name, self.top, new))
    }
}

fn open(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(parent, name)?;
            openat(parent, name, flags, Mode::empty())
        }
        result => result,
    }
}

/// Gives us all rights to a directory. It is held open, so that no link to somebody else's can come in its place.
fn open_up(parent: BorrowedFd<'_>, name: impl Arg) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    // fchmod(2) refuses descriptors of this kind.
    chmod(format!("/proc/self/fd/{}", directory.as_raw_fd()), Mode::RWXU)
}

/// Removes an entry of a directory of the tree.
fn unlink(directory: BorrowedFd<'_>, name: impl Arg + Copy, flags: AtFlags) -> Result<(), Errno> {
    or_gone(match unlinkat(directory, name, flags) {
        Err(Errno::ACCESS) => {
            fchmod(directory, Mode::RWXU)?;
            unlinkat(directory, name, flags)
        }
        result => result,
    })
}

fn or_gone(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, mkdirat};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_tree_may_be_deeper_than_paths_are_long_and_descriptors_are_many() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut deepest = open(CWD, &tree).unwrap();
        for _ in 0..3_000 {
            mkdirat(&deepest, "d", Mode::RWXU).unwrap();
            deepest = open(deepest.as_fd(), "d").unwrap();
        }
        // Far too little for a call per level.
        let small_stack = std::thread::Builder::new().stack_size(128 * 1024);
        std::thread::scope(|scope| {
            let removal = small_stack.spawn_scoped(scope, || remove(CWD, &tree)).unwrap();
            removal.join().unwrap().unwrap();
        });
        assert!(!tree.exists());
    }

    #[test]
    fn closed_directories_are_opened_at_every_depth() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        let mut path = tree.clone();
        for _ in 0..DEEPEST * 2 {
            path.push("d");
        }
        fs::create_dir_all(&path).unwrap();
        File::create(path.join("file")).unwrap();
        while path != tree {
            set_mode(&path, if path.components().count().is_multiple_of(2) { 0 } else { 0o500 });
            path.pop();
        }
        remove(CWD, &tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_not_followed_and_what_is_gone_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::create_dir(&outside).unwrap();
        File::create(outside.join("kept")).unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink(&outside, directory.path().join("link")).unwrap();
        set_mode(&outside, 0o500);
        for name in ["tree", "link", "none"] {
            remove(CWD, &directory.path().join(name)).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(outside.join("kept").exists());
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o500);
    }

    #[test]
    fn whose_it_is_stays_until_the_rest_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("a")).unwrap();
        File::create(tree.join(owner::FILE)).unwrap();
        let top = open(CWD, &tree).unwrap();
        Pass { top: top.as_fd(), lifted: 0 }.empty(Dir::read_from(&top).unwrap(), 0).unwrap();
        let left: Vec<_> = fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [owner::FILE]);
    }
}
