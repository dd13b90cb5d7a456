//! Writes the cluster's configuration and its users into the root.

use super::{accounts, place};
use crate::failure::{During, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Name of the only node; also the host name.
pub(super) const NODE: &str = "node1";

const FILES: &[(&str, &str)] = &[
    ("/etc/slurm/slurm.conf", include_str!("files/slurm.conf")),
    ("/etc/slurm/cgroup.conf", include_str!("files/cgroup.conf")),
    ("/etc/docker/registry/config.yml", include_str!("files/registry.yml")),
    ("/etc/containers/registries.conf", include_str!("files/registries.conf")),
    ("/etc/containers/containers.conf", include_str!("files/containers.conf")),
    ("/etc/profile.d/bed.sh", include_str!("files/profile.sh")),
    ("/etc/hosts", include_str!("files/hosts")),
    ("/etc/hostname", "node1\n"),
    ("/etc/resolv.conf", "# the bed has no network beyond lo\n"),
];

/// Brings all files of the root to the state of today; safe to repeat.
pub(super) fn write() -> Result<()> {
    for (path, text) in FILES {
        write_file(&in_root(path), text)?;
    }
    for account in accounts::ADDED {
        for (file, line) in account.lines() {
            set_account_line(&in_root(file), &line)?;
        }
        let home = in_root(account.home);
        make_folder(&home)?;
        set_mode(&home, 0o700)?;
        chown(&home, Some(account.id), Some(account.id)).during(|| during("give away", &home))?;
    }
    make_folder(&in_root("/scratch"))?;
    set_mode(&in_root("/scratch"), 0o1777)
}

/// Writes a file of the root, with the folders above it.
pub(super) fn write_file(path: &Path, text: &str) -> Result<()> {
    make_folder(path.parent().unwrap_or(path))?;
    fs::write(path, text).during(|| during("write", path))
}

pub(super) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).during(|| during("make", path))
}

/// A path of the bed as seen from the host.
pub(super) fn in_root(path: &str) -> PathBuf {
    place::root().join(path.trim_start_matches('/'))
}

fn set_account_line(path: &Path, line: &str) -> Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // Written over, not replaced: the file keeps its mode and owner.
    fs::write(path, accounts::with_line(&text, line)).during(|| during("write", path))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).during(|| during("set the mode of", path))
}

fn during(what: &str, path: &Path) -> String {
    format!("{what} `{}`", path.display())
}
