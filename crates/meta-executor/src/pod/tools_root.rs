//! The root of helper stages: the host's programs, the job's directories, nothing else.
//!
//! As with docker's helper container, git and gitlab-runner do not come from the job's image. The host's root cannot be used
//! as it is: `/builds` and `/cache` do not exist there, and the user's home and our tokens do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use nix::unistd::{chdir, pivot_root};

use super::spec::{Bind, HostToolsRoot};
use super::{PodError, capabilities, devices, mounts, on_path};

/// Nothing there needs shared memory; this is docker's size, in bytes.
const SHM_SIZE: u64 = 64 << 20;

/// Puts the root together at `root.mount_point` and makes it this process's root.
pub(super) fn enter(root: &HostToolsRoot) -> Result<(), PodError> {
    let new = root.mount_point.as_path();
    mounts::tmpfs(new, "mode=0755")?;
    for directory in &root.host_directories {
        show_host_directory(new, directory)?;
    }
    // The job runs with the account's rights, and in docker's helper it changes nothing of the host.
    let shown = root.host_directories.iter().map(|directory| mounts::below(new, directory));
    mounts::make_read_only(&shown.filter(|path| is_directory(path)).collect::<Vec<_>>())?;
    for hidden in &root.hidden {
        // Only what the directories above brought in can be seen, so only that must be covered.
        let covered = mounts::below(new, hidden);
        if is_inside(&covered, new) && covered.is_dir() {
            mounts::tmpfs(&covered, "mode=0755")?;
        }
    }
    show_name_service(new)?;
    mounts::make_directory(&new.join("dev"))?;
    devices::make(&new.join("dev"), SHM_SIZE, &[])?;
    mounts::make_directory(&new.join("proc"))?;
    mounts::proc(&new.join("proc"))?;
    for temporary in ["tmp", "var/tmp"] {
        mounts::make_directory(&new.join(temporary))?;
        mounts::tmpfs(&new.join(temporary), "mode=1777")?;
    }
    mounts::make_directory(&mounts::below(new, &root.home))?;
    for bind in &root.binds {
        show(new, bind)?;
    }
    let read_only = root.binds.iter().filter(|bind| bind.read_only);
    mounts::make_read_only(&read_only.map(|bind| mounts::below(new, &bind.target)).collect::<Vec<_>>())?;
    change_root(new)?;
    // A job can have its own commands run here (`hooks:pre_get_sources_script`); they get no more than in docker.
    capabilities::keep_dockers()
}

fn show_host_directory(new: &Path, directory: &Path) -> Result<(), PodError> {
    let target = mounts::below(new, directory);
    // On merged-/usr systems /bin and its like are links; a link is copied as a link.
    match fs::read_link(directory) {
        Ok(link) => {
            symlink(&link, &target).map_err(|source| PodError::Io { action: "link", path: target, source })
        }
        Err(_) if directory.is_dir() => {
            mounts::make_directory(&target)?;
            mounts::bind(directory, &target)
        }
        Err(_) => Ok(()),
    }
}

/// Where `/etc/resolv.conf` is a link out of `/etc` (systemd-resolved), its text is put where the link leads.
fn show_name_service(new: &Path) -> Result<(), PodError> {
    let resolv = Path::new("/etc/resolv.conf");
    let Ok(real) = fs::canonicalize(resolv) else { return Ok(()) };
    if real.starts_with("/etc") || real.starts_with("/usr") {
        return Ok(());
    }
    let target = mounts::below(new, &real);
    mounts::make_file(&target)?;
    mounts::bind(&real, &target)
}

fn show(new: &Path, bind: &Bind) -> Result<(), PodError> {
    let target = mounts::below(new, &bind.target);
    if bind.source.is_dir() {
        mounts::make_directory(&target)?;
    } else {
        mounts::make_file(&target)?;
    }
    mounts::bind(&bind.source, &target)
}

/// Not a link to one, which has no mount of its own.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Whether no link on the way leads `path` out of `root`: to the host, where nothing may be covered.
fn is_inside(path: &Path, root: &Path) -> bool {
    matches!((path.canonicalize(), root.canonicalize()), (Ok(path), Ok(root)) if path.starts_with(&root))
}

fn change_root(new: &Path) -> Result<(), PodError> {
    chdir(new).map_err(on_path("enter", new))?;
    // With "." twice the old root is stacked on the new one and can be taken off at once (pivot_root(2), NOTES).
    pivot_root(".", ".").map_err(on_path("make the root of", new))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(on_path("let go of the old root behind", new))?;
    chdir("/").map_err(on_path("enter", "/"))
}
