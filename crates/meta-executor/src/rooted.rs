//! Files in a root that is not trusted, as an image's: links lead where they lead in it (openat2(2), `RESOLVE_IN_ROOT`). As plain
//! paths they could lead to the account's own files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// Links on the way to something that is not there yet. More are a loop.
const MOST_LINKS: usize = 8;

/// Opens the root itself.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory that is there, to make or find things in it.
pub(crate) fn open_directory(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Makes the directories of `path` that are missing, and those that links on the way lead to.
pub(crate) fn make_directories(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    make_directories_by(root, &cleaned(path), MOST_LINKS)
}

fn make_directories_by(root: &OwnedFd, path: &Path, links: usize) -> Result<(), Errno> {
    let mut done = PathBuf::new();
    for name in path.components() {
        let parent = open_directory(root, &done)?;
        match mkdirat(&parent, name.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        done.push(name);
        if matches!(open_directory(root, &done), Err(Errno::NOENT)) {
            let left = links.checked_sub(1).ok_or(Errno::LOOP)?;
            make_directories_by(root, &target(&parent, name.as_os_str(), &done)?, left)?;
        }
    }
    Ok(())
}

/// Makes an empty file at `path` with its directories, unless something is there that a file can be mounted on. Nothing that
/// is there is opened: a FIFO would never be.
pub(crate) fn make_file(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let mut path = cleaned(path);
    for _ in 0..MOST_LINKS {
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        make_directories(root, directory)?;
        let parent = open_directory(root, directory)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        match openat2(root, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(found) if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory => {
                return Err(Errno::ISDIR);
            }
            Ok(_) => return Ok(()),
            // A link to something that comes later (`/etc/resolv.conf` of systemd).
            Err(Errno::NOENT) => path = target(&parent, name, &path)?,
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP)
}

/// The text of the ordinary file at `path`, if it has at most `limit` bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for anything else than a file, [`io::ErrorKind::FileTooLarge`].
pub(crate) fn read(root: &OwnedFd, path: &Path, limit: u64) -> io::Result<String> {
    // Without waiting for the other end of a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A path without `.`, `..` and the slash in front. `..` takes the name before it away, and at the root nothing.
pub(crate) fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Where the link `name` in `parent`, at `path` of the root, leads.
fn target(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<PathBuf, Errno> {
    let target = readlinkat(parent, name, Vec::new())?;
    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
    Ok(cleaned(&path.with_file_name("").join(target)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use rustix::fs::mknodat;

    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let (image, outside) = (directory.path().join("image"), directory.path().join("outside"));
        fs::create_dir_all(image.join("real")).unwrap();
        fs::create_dir(&outside).unwrap();
        File::create(outside.join("passwd")).unwrap();
        symlink(&outside, image.join("etc")).unwrap();
        symlink("/real", image.join("var")).unwrap();
        let root = open_root(&image).unwrap();
        assert!(read(&root, Path::new("etc/passwd"), 9).is_err());
        make_file(&root, Path::new("/etc/hosts")).unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert!(image.join(outside.strip_prefix("/").unwrap()).join("hosts").is_file());
        make_directories(&root, Path::new("/var/tmp")).unwrap();
        make_file(&root, Path::new("/var/hosts")).unwrap();
        assert!(image.join("real/tmp").is_dir() && image.join("real/hosts").is_file());
    }

    #[test]
    fn a_link_that_leads_to_nothing_gets_something() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path();
        fs::create_dir(image.join("etc")).unwrap();
        symlink("../run/systemd/resolve/stub-resolv.conf", image.join("etc/resolv.conf")).unwrap();
        symlink("loop", image.join("etc/loop")).unwrap();
        let root = open_root(image).unwrap();
        make_file(&root, Path::new("/etc/resolv.conf")).unwrap();
        assert!(image.join("run/systemd/resolve/stub-resolv.conf").is_file());
        assert_eq!(make_file(&root, Path::new("/etc/loop")), Err(Errno::LOOP));
        assert_eq!(make_file(&root, Path::new("/etc")), Err(Errno::ISDIR));
    }

    #[test]
    fn a_fifo_is_mounted_on_and_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = open_root(directory.path()).unwrap();
        mknodat(&root, "hosts", FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        make_file(&root, Path::new("/hosts")).unwrap();
        let error = read(&root, Path::new("hosts"), 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn only_so_much_is_read() {
        let directory = tempfile::tempdir().unwrap();
        File::create(directory.path().join("f")).unwrap().write_all(b"12345").unwrap();
        let root = open_root(directory.path()).unwrap();
        assert_eq!(read(&root, Path::new("f"), 5).unwrap(), "12345");
        assert_eq!(read(&root, Path::new("f"), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
