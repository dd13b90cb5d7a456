//! Mounts that both kinds of root need.

use std::fs;
use std::path::{Path, PathBuf};

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

/// Makes a bind read only. The flags that the source was mounted with are locked in a user namespace and must be named
/// again (mount_namespaces(7)), so the likely ones are tried.
pub(super) fn make_read_only(target: &Path) -> Result<(), PodError> {
    let remount = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let (nosuid, nodev) = (MsFlags::MS_NOSUID, MsFlags::MS_NODEV);
    let noatime = MsFlags::MS_NOATIME;
    let relatime = MsFlags::MS_RELATIME;
    let tries = [
        MsFlags::empty(),
        nosuid | nodev,
        nosuid | nodev | relatime,
        nosuid | nodev | noatime,
        nosuid | nodev | MsFlags::MS_NOEXEC,
        nodev,
        nosuid,
    ];
    let mut result = Ok(());
    for flags in tries {
        result = mount(NOTHING, target, NOTHING, remount | flags, NOTHING);
        if result.is_ok() {
            break;
        }
    }
    result.map_err(on_path("make read-only", target))
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
