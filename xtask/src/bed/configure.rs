//! Writes the cluster's configuration and the user `ci` into the root.

use super::place;
use crate::failure::{During, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The ordinary user of the bed; uid and gid are the same number.
pub(super) const USER: &str = "ci";
pub(super) const USER_ID: u32 = 1000;

/// Name of the only node; also the host name.
pub(super) const NODE: &str = "node1";

const FILES: &[(&str, &str)] = &[
    ("etc/slurm/slurm.conf", include_str!("files/slurm.conf")),
    ("etc/slurm/cgroup.conf", include_str!("files/cgroup.conf")),
    ("etc/docker/registry/config.yml", include_str!("files/registry.yml")),
    ("etc/containers/registries.conf", include_str!("files/registries.conf")),
    ("etc/containers/containers.conf", include_str!("files/containers.conf")),
    ("etc/profile.d/bed.sh", include_str!("files/profile.sh")),
    ("etc/hosts", include_str!("files/hosts")),
    ("etc/hostname", "node1\n"),
    ("etc/resolv.conf", "# the bed has no network beyond lo\n"),
];

/// Lines that the user needs, by file.
const USER_LINES: &[(&str, &str)] = &[
    ("etc/passwd", "ci:x:1000:1000:CI user:/home/ci:/bin/bash"),
    ("etc/group", "ci:x:1000:"),
    ("etc/shadow", "ci:*:20000:0:99999:7:::"),
    ("etc/subuid", "ci:100000:65536"),
    ("etc/subgid", "ci:100000:65536"),
];

/// Brings all files of the root to the state of today; safe to repeat.
pub(super) fn write() -> Result<()> {
    for (path, text) in FILES {
        write_file(&place::root().join(path), text)?;
    }
    for (path, line) in USER_LINES {
        set_user_line(&place::root().join(path), line)?;
    }
    for (path, mode) in [("home/ci", 0o700), ("scratch", 0o1777)] {
        let path = place::root().join(path);
        make_folder(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .during(|| during("set the mode of", &path))?;
        if mode == 0o700 {
            chown(&path, Some(USER_ID), Some(USER_ID)).during(|| during("give away", &path))?;
        }
    }
    Ok(())
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

fn set_user_line(path: &Path, line: &str) -> Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // Written over, not replaced: the file keeps its mode and owner.
    fs::write(path, with_user_line(&text, line)).during(|| during("write", path))
}

/// The text with exactly this line for its user.
fn with_user_line(text: &str, line: &str) -> String {
    let name = line.split(':').next().unwrap_or(line);
    let others = text.lines().filter(|other| other.split(':').next() != Some(name));
    others.chain([line]).map(|line| format!("{line}\n")).collect()
}

fn during(what: &str, path: &Path) -> String {
    format!("{what} `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use super::with_user_line;

    #[test]
    fn a_user_has_one_line() {
        let once = with_user_line("root:x:0\ncity:x:7\n", "ci:x:1000");
        assert_eq!(once, "root:x:0\ncity:x:7\nci:x:1000\n");
        assert_eq!(with_user_line(&once, "ci:y:1000"), "root:x:0\ncity:x:7\nci:y:1000\n");
    }
}
