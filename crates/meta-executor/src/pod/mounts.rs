//! Mounts that both kinds of root need.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::{PodError, doing, on_path};

const NOTHING: Option<&str> = None;

/// Keeps the mounts of this namespace from spreading to the host's.
pub(crate) fn make_private() -> Result<(), PodError> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .map_err(doing("make the mounts private"))
}

/// A tmpfs on `target` with mount options such as `mode=0755,size=64m`.
pub(super) fn tmpfs(target: &Path, options: &str) -> Result<(), PodError> {
    fresh("tmpfs", target, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
}

/// A directory in which there is nothing, and to which nobody can write.
pub(super) fn empty_tmpfs(target: &Path) -> Result<(), PodError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    fresh("tmpfs", target, flags, Some("mode=0555,size=4k"))
}

/// A tmpfs on which devices can be shown.
pub(super) fn tmpfs_with_devices(target: &Path, options: &str) -> Result<(), PodError> {
    fresh("tmpfs", target, MsFlags::MS_NOSUID, Some(options))
}

/// Terminals of this user namespace.
pub(super) fn devpts(target: &Path) -> Result<(), PodError> {
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    fresh("devpts", target, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, options)
}

/// The message queues of this IPC namespace.
pub(super) fn mqueue(target: &Path) -> Result<(), PodError> {
    fresh("mqueue", target, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, NOTHING)
}

/// The proc file system of this PID namespace.
pub(crate) fn proc(target: &Path) -> Result<(), PodError> {
    fresh("proc", target, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, NOTHING)
}

fn fresh(kind: &'static str, target: &Path, flags: MsFlags, options: Option<&str>) -> Result<(), PodError> {
    mount(Some(kind), target, Some(kind), flags, options).map_err(on_path("mount a file system on", target))
}

/// Shows `source` at `target`, with everything mounted below it.
pub(super) fn bind(source: &Path, target: &Path) -> Result<(), PodError> {
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .map_err(on_path("bind to", target))
}

/// Makes binds read-only, and where that can be done what is mounted below them. Flags of the host's mounts are locked in a
/// user namespace and must be named again (mount_namespaces(7)).
pub(super) fn make_read_only(targets: &[PathBuf]) -> Result<(), PodError> {
    let file = Path::new("/proc/self/mountinfo");
    let table = fs::read_to_string(file).map_err(|source| PodError::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    let table = flags_of_mounts(&table);
    for target in targets {
        let real = target.canonicalize().map_err(|source| PodError::Io {
            action: "find",
            path: target.clone(),
            source,
        })?;
        if !table.contains_key(&real) {
            return Err(on_path("make read-only", real)(Errno::EINVAL));
        }
        for (path, flags) in table.range(real.clone()..).take_while(|(path, _)| path.starts_with(&real)) {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | *flags;
            match mount(NOTHING, path, NOTHING, flags, NOTHING) {
                Err(error) if *path == real => return Err(on_path("make read-only", path)(error)),
                // A file system below (autofs, FUSE of another user) may not let us.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Lets set-user-id programs and capabilities of files have their effect on the mount at `target`, which is one of ours:
/// without flags that are locked.
pub(super) fn let_programs_set_ids(target: &Path) -> Result<(), PodError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NODEV;
    mount(NOTHING, target, NOTHING, flags, NOTHING).map_err(on_path("mount again", target))
}

/// The flags of each mount that cannot be taken away, by its path, from the text of `/proc/self/mountinfo` (proc(5)).
fn flags_of_mounts(table: &str) -> BTreeMap<PathBuf, MsFlags> {
    let flag = |name: &str| match name {
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        // Those about times of access stay as they are when none is named.
        _ => MsFlags::empty(),
    };
    let mounts = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let path = unescaped(fields.next()?);
        Some((path, fields.next()?.split(',').map(flag).collect()))
    });
    // The last of several at one place covers the others.
    mounts.collect()
}

/// The kernel writes blanks, tabs, line feeds and backslashes as a backslash and three octal digits.
fn unescaped(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|_| first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// `mkdir -p`.
pub(super) fn make_directory(path: &Path) -> Result<(), PodError> {
    fs::create_dir_all(path).map_err(|source| PodError::Io { action: "make", path: path.to_owned(), source })
}

/// An empty file as a mount point, with its directory.
pub(super) fn make_file(path: &Path) -> Result<(), PodError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path).map(drop).map_err(|source| PodError::Io {
        action: "make",
        path: path.to_owned(),
        source,
    })
}

/// `path`, which is absolute, below `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_flags_are_read_from_the_kernels_table() {
        let table = flags_of_mounts(
            "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
             40 22 0:5 / /a\\040b/c\\134d rw,nosuid,nodev,noexec,noatime - nfs4 server:/x rw\n\
             41 22 0:6 / /usr rw - autofs none rw\n\
             42 41 0:7 / /usr ro,nosuid - nfs4 server:/usr rw\nbroken\n",
        );
        let all = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let expected = [("/", MsFlags::empty()), ("/a b/c\\d", all), ("/usr", MsFlags::MS_NOSUID)];
        assert_eq!(table, expected.map(|(path, flags)| (PathBuf::from(path), flags)).into());
    }
}
