//! Makes the root file system.

use super::{install, mirror, place, recipe};
use crate::failure::{During, Result};
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

/// Runs mmdebstrap with the keys, mirror and options of this machine; packages are downloaded once.
pub(super) fn debootstrap(arguments: &[String], into: &Path) -> Result<()> {
    let packages = place::cache().join("packages");
    fs::create_dir_all(&packages).during(|| format!("make `{}`", packages.display()))?;
    let mut command = Command::new("mmdebstrap");
    command
        .args(arguments)
        .args(mirror::apt_options()?)
        .arg(format!("--keyring={}", install::KEYRING))
        .arg("--skip=download/empty,essential/unlink")
        .arg(format!("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives && cp -l {0}/*.deb \"$1\"/var/cache/apt/archives/ || true", packages.display()))
        .arg(format!("--customize-hook=cp -ln \"$1\"/var/cache/apt/archives/*.deb {0}/ || true", packages.display()))
        .arg(recipe::SUITE)
        .arg(into)
        .args(mirror::find()?);
    process::run(&mut command).map(drop).map_err(|failure| {
        failure.with_hint("the mirror must carry Debian sid: BED_MIRROR names another one; then run it again")
    })
}

fn remove(path: &Path) -> Result<()> {
    let outcome = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
