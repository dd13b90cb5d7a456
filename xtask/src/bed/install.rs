//! Programs that the host must have.

use crate::failure::{Failure, Result};
use crate::process;
use crate::progress::Progress;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's archive keys; mmdebstrap checks sid with them, on Ubuntu too.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package of Debian and Ubuntu and the file that shows that it is there.
struct Need {
    package: &'static str,
    file: &'static str,
}

const NEEDS: &[Need] = &[
    Need { package: "apt", file: "apt-get" },
    Need { package: "mmdebstrap", file: "mmdebstrap" },
    Need { package: "debian-archive-keyring", file: KEYRING },
    Need { package: "mount", file: "mount" },
    Need { package: "util-linux", file: "unshare" },
    Need { package: "tar", file: "tar" },
];

/// Installs what is missing.
///
/// # Errors
/// Not root, or something is missing and this is no system with apt-get; both name what is missing.
pub(super) fn ensure(progress: &Progress) -> Result<()> {
    require_root()?;
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() || find("dpkg").is_none() {
        return Err(Failure::new(format!("packages are missing: {}", missing.join(", "))).with_hint(
            "only on Debian and Ubuntu they are installed for you; elsewhere use a Debian virtual machine",
        ));
    }
    progress.step(format!("installing {} with apt-get", missing.join(", ")));
    process::run(apt_get().arg("update"))
        .map_err(|failure| failure.with_hint("apt-get must be able to reach the mirrors of this machine"))?;
    process::run(apt_get().args(["install", "-y", "--no-install-recommends"]).args(&missing))
        .map_err(|failure| failure.with_hint("on Ubuntu these packages are in the component `universe`"))?;
    Ok(())
}

/// Before anything else is done: a build would be in vain.
///
/// # Errors
/// Not root; names also what is missing besides.
pub(super) fn require_root() -> Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let missing = missing();
    let also =
        if missing.is_empty() { String::new() } else { format!("; missing besides: {}", missing.join(", ")) };
    Err(Failure::new(format!("the bed needs root, since it mounts file systems{also}")).with_hint(
        "be root, for example in a virtual machine; `cargo test --workspace` and `cargo xtask demo --host` need neither",
    ))
}

fn missing() -> Vec<&'static str> {
    NEEDS.iter().filter(|need| find(need.file).is_none()).map(|need| need.package).collect()
}

/// A program of the PATH, or an absolute path that exists.
pub(super) fn find(file: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(file)).find(|path| Path::is_file(path))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}
