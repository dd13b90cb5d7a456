//! `/dev` as docker makes it: harmless devices, terminals, shared memory, message queues.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{PodError, mounts};

/// What every container has. More would be refused to a user namespace anyway.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes `dev` with a `/dev/shm` of `shm_size` bytes and, beside the usual ones, the host's devices `more` (GPUs).
pub(super) fn make(dev: &Path, shm_size: u64, more: &[PathBuf]) -> Result<(), PodError> {
    mounts::tmpfs_with_devices(dev, "mode=0755,size=64k")?;
    for device in DEVICES {
        show(&Path::new("/dev").join(device), &dev.join(device))?;
    }
    for device in more {
        if let Ok(inside) = device.strip_prefix("/dev") {
            show(device, &dev.join(inside))?;
        }
    }
    for (name, target) in LINKS {
        let path = dev.join(name);
        symlink(target, &path).map_err(|source| PodError::Io { action: "link", path, source })?;
    }
    let folder = |name: &str| {
        let path = dev.join(name);
        mounts::make_directory(&path).map(|()| path)
    };
    mounts::devpts(&folder("pts")?)?;
    mounts::mqueue(&folder("mqueue")?)?;
    mounts::tmpfs(&folder("shm")?, &format!("mode=1777,size={shm_size}"))
}

fn show(device: &Path, target: &Path) -> Result<(), PodError> {
    if fs::metadata(device).is_ok_and(|found| found.is_dir()) {
        mounts::make_directory(target)?;
    } else {
        mounts::make_file(target)?;
    }
    mounts::bind(device, target)
}
