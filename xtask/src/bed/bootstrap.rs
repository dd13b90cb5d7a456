//! Makes the root file system.

use super::{install, mirror, place, recipe};
use crate::failure::{During, Failure, Result};
use crate::process;
use crate::progress::Progress;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Whether the root exists and was made from the recipe of today.
pub(super) fn is_current() -> bool {
    place::root().is_dir()
        && fs::read_to_string(place::root_stamp()).is_ok_and(|stamp| stamp == recipe::stamp())
}

/// Makes the root, unless it is current. Nothing may run in the old one.
pub(super) fn ensure(progress: &Progress) -> Result<()> {
    if is_current() {
        return Ok(());
    }
    remove(&place::unfinished_root())?;
    progress.step(format!("making a Debian {} root with mmdebstrap (a minute or two)", recipe::SUITE));
    debootstrap(&recipe::arguments(), &place::unfinished_root())?;
    remove(&place::root_stamp())?;
    remove(&place::root())?;
    fs::rename(place::unfinished_root(), place::root()).during(|| "rename the new root".to_owned())?;
    fs::write(place::root_stamp(), recipe::stamp()).during(|| "write the recipe beside the root".to_owned())
}

/// mmdebstrap mounts into the root that it makes. In namespaces of its own that end with this program, an interrupted
/// run leaves neither processes nor mounts, which a later removal of the half-made root would walk into.
const ALONE: [&str; 9] = [
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--mount-proc",
    "--fork",
    "--kill-child=KILL",
    "--",
];

/// Runs mmdebstrap with the keys, mirror and options of this machine; packages are downloaded once.
pub(super) fn debootstrap(arguments: &[String], into: &Path) -> Result<()> {
    let (packages, temporary) = (place::cache().join("packages"), place::temporary());
    // Of an interrupted run.
    remove(&temporary)?;
    for folder in [&packages, &temporary] {
        fs::create_dir_all(folder).during(|| format!("make `{}`", folder.display()))?;
    }
    let mirror = mirror::find()?;
    let mut command = Command::new("setpriv");
    command
        .env("TMPDIR", &temporary)
        .args(ALONE)
        .arg("mmdebstrap")
        .args(arguments)
        .args(mirror::apt_options()?)
        .arg(format!("--keyring={}", install::KEYRING))
        .arg("--skip=download/empty,essential/unlink")
        .arg(format!("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives && cp -l {0}/*.deb \"$1\"/var/cache/apt/archives/ || true", packages.display()))
        .arg(format!("--customize-hook=cp -ln \"$1\"/var/cache/apt/archives/*.deb {0}/ || true", packages.display()))
        .arg(recipe::SUITE)
        .arg(into)
        .args(&mirror);
    let mirror = mirror.unwrap_or_else(|| "Debian's own mirror".to_owned());
    process::run(&mut command).map(drop).map_err(|failure| {
        failure.with_step(format!("mmdebstrap cannot install Debian {} from {mirror}", recipe::SUITE)).with_hint(
            "the mirror must be reached from here and carry that release; BED_MIRROR names another one. Then run it again",
        )
    })
}

/// Removes a folder or file, if it exists and nothing is mounted below it.
fn remove(path: &Path) -> Result<()> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").during(|| "read the list of mounts".to_owned())?;
    if has_mount(&mounts, path) {
        return Err(Failure::new(format!("something is mounted below `{}`", path.display())).with_hint(
            format!("`findmnt --submounts` shows it; unmount it before `{}` is removed", path.display()),
        ));
    }
    let outcome = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whether proc_pid_mountinfo(5) has a mount point at or below the path.
fn has_mount(mountinfo: &str, path: &Path) -> bool {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| Path::new(point).starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::has_mount;
    use std::path::Path;

    #[test]
    fn mounts_below_are_seen_and_those_beside_are_not() {
        let mounts =
            "22 1 0:21 / /bed/root.unfinished/proc rw - proc proc rw\n23 1 0:2 / / rw - ext4 /dev/vda rw\n";
        assert!(has_mount(mounts, Path::new("/bed/root.unfinished")));
        assert!(has_mount(mounts, Path::new("/bed/root.unfinished/proc")));
        assert!(!has_mount(mounts, Path::new("/bed/root")));
    }
}
