//! An image's file system while it is made: every path is looked up with the image as root (openat2(2), `RESOLVE_IN_ROOT`).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use crate::{removal, rooted};

/// Owner, mode, time and extended attributes of an entry.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(super) mode: u32,
    pub(super) mtime: Timespec,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// Paths are relative to the image's root and have normal components only.
pub(super) struct Tree {
    root: OwnedFd,
    /// The directory that was used last: entries of one directory come together.
    last: Option<(PathBuf, OwnedFd)>,
    /// Without root's rights (isolation level C) owners cannot be kept, and the user must be able to read and remove
    /// everything.
    is_root: bool,
    buffer: Vec<u8>,
}

impl Tree {
    pub(super) fn open(rootfs: &Path) -> Result<Self, Errno> {
        Ok(Self {
            root: rooted::open_root(rootfs)?,
            last: None,
            is_root: rustix::process::geteuid().is_root(),
            buffer: vec![0; 256 * 1024],
        })
    }

    /// A new file with the content of `text`; what was at `path` is gone.
    pub(super) fn make_file(
        &mut self,
        path: &Path,
        text: &mut impl Read,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            self.make_new(path, |parent, name| openat(parent, name, flags, Mode::RUSR | Mode::WUSR))?;
        let mut file = File::from(file);
        loop {
            let count = text.read(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&self.buffer[..count])?;
        }
        if self.is_root {
            let (uid, gid) = owner(attributes);
            or_unmapped(fchown(&file, uid, gid))?;
        }
        // A change of owner takes capabilities and the set-user-id bits off (chown(2)), so they come after it.
        for (name, value) in &attributes.xattrs {
            // Not every file system has them, and some need rights; docker without root does not mind either.
            let _ = fsetxattr(&file, name.as_str(), value, XattrFlags::empty());
        }
        let mode = if self.is_root { attributes.mode } else { attributes.mode | 0o400 };
        fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(futimens(&file, &times(attributes))?)
    }

    pub(super) fn make_link(
        &mut self,
        path: &Path,
        target: &OsStr,
        attributes: &Attributes,
    ) -> io::Result<()> {
        self.make_new(path, |parent, name| symlinkat(target, parent, name))?;
        self.set_owner_and_time(path, attributes)
    }

    /// A second name for the file `existing` of the image.
    pub(super) fn make_hard_link(&mut self, path: &Path, existing: &Path) -> io::Result<()> {
        let (directory, name) = split(existing);
        let source = self.open_directory(directory)?;
        self.make_new(path, |parent, new| linkat(&source, name, parent, new, AtFlags::empty()))
    }

    pub(super) fn make_fifo(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let mode = Mode::from_raw_mode(attributes.mode);
        self.make_new(path, |parent, name| mknodat(parent, name, FileType::Fifo, mode, 0))?;
        self.set_owner_and_time(path, attributes)?;
        let (directory, name) = split(path);
        Ok(chmodat(self.directory(directory)?, name, mode, AtFlags::empty())?)
    }

    /// Makes the directory unless it is there. Mode and time are set by [`Self::finish_directory`]: one that is not writable
    /// must still be filled.
    pub(super) fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty()
            || self.stat(path)?.is_some_and(|found| kind(&found) == FileType::Directory)
        {
            return Ok(());
        }
        // As with docker, a link that a directory comes in the place of is replaced.
        self.make_new(path, |parent, name| mkdirat(parent, name, Mode::RWXU))
    }

    /// Gives the directory its owner, mode and time. One that was replaced meanwhile is left alone.
    pub(super) fn finish_directory(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = if path.as_os_str().is_empty() {
            openat(&self.root, ".", flags, Mode::empty())
        } else {
            let (directory, name) = split(path);
            openat(self.directory(directory)?, name, flags, Mode::empty())
        };
        let directory = match opened {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            result => result?,
        };
        if self.is_root {
            let (uid, gid) = owner(attributes);
            or_unmapped(fchown(&directory, uid, gid))?;
        }
        let mode = if self.is_root { attributes.mode } else { attributes.mode | 0o700 };
        fchmod(&directory, Mode::from_raw_mode(mode))?;
        Ok(futimens(&directory, &times(attributes))?)
    }

    /// Removes whatever is at `path`; nothing there is fine.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let Some(found) = self.stat(path)? else { return Ok(()) };
        let (directory, name) = split(path);
        let parent = self.directory(directory)?;
        if kind(&found) == FileType::Directory {
            removal::tree::remove(parent, Path::new(name))?;
        } else {
            unlinkat(parent, name, AtFlags::empty())?;
        }
        // It may have been part of the way to the last directory.
        self.last = None;
        Ok(())
    }

    /// Removes everything below the directory `path` but what is in `kept`.
    pub(super) fn empty(&mut self, path: &Path, kept: &HashSet<PathBuf>) -> io::Result<()> {
        let mut directories = vec![path.to_owned()];
        while let Some(path) = directories.pop() {
            let directory = match self.open_directory(&path) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                result => result?,
            };
            let listed = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
            for entry in fs::read_dir(listed)? {
                let child = path.join(entry?.file_name());
                if !kept.contains(&child) {
                    self.remove(&child)?;
                } else if self.stat(&child)?.is_some_and(|found| kind(&found) == FileType::Directory) {
                    directories.push(child);
                }
            }
        }
        Ok(())
    }

    /// Makes something at `path` by `make`, in the place of what is there.
    fn make_new<T>(
        &mut self,
        path: &Path,
        make: impl Fn(&OwnedFd, &OsStr) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let (directory, name) = split(path);
        match make(self.directory(directory)?, name) {
            Err(Errno::EXIST) => {
                self.remove(path)?;
                Ok(make(self.directory(directory)?, name)?)
            }
            result => Ok(result?),
        }
    }

    fn set_owner_and_time(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let (directory, name) = split(path);
        let is_root = self.is_root;
        let parent = self.directory(directory)?;
        if is_root {
            let (uid, gid) = owner(attributes);
            or_unmapped(chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        }
        Ok(utimensat(parent, name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn stat(&mut self, path: &Path) -> io::Result<Option<Stat>> {
        let (directory, name) = split(path);
        let parent = match self.open_directory(directory) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            result => result?,
        };
        match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    /// The directory at `path`, which is made if it is not there.
    fn directory(&mut self, path: &Path) -> io::Result<&OwnedFd> {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| last == path);
        if !is_last {
            let directory = match self.open_directory(path) {
                Err(Errno::NOENT) => {
                    rooted::make_directories(&self.root, path)?;
                    self.open_directory(path)?
                }
                result => result?,
            };
            self.last = Some((path.to_owned(), directory));
        }
        match &self.last {
            Some((_, directory)) => Ok(directory),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        rooted::open_directory(&self.root, path)
    }
}

fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or(OsStr::new(".")))
}

fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

fn owner(attributes: &Attributes) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))
}

/// Ids that the pod does not map (all but root's at level B) become root's.
fn or_unmapped(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::INVAL) { Ok(()) } else { result }
}

fn times(attributes: &Attributes) -> Timestamps {
    Timestamps { last_access: attributes.mtime, last_modification: attributes.mtime }
}
