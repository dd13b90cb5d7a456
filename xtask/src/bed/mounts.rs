//! The bed's mounts: made in its own mount namespace, gone with it.

use super::{configure::make_folder, place, runner};
use crate::failure::{During, Result};
use crate::workspace;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, pivot_root};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Device nodes: path below /dev, major, minor. Mode 0666, as on a node whose users run containers.
const DEVICES: &[(&str, u64, u64)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("fuse", 10, 229),
    ("net/tun", 10, 200),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes everything below the root and makes the root `/`. The process must be alone in new mount and pid namespaces.
pub(super) fn enter_root() -> Result<()> {
    let root = place::root();
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    // pivot_root wants a mount point.
    bind(&root, &root)?;
    file_systems(&root)?;
    devices(&root.join("dev"))?;
    workspace_below(&root.join("opt"))?;
    runner::place()?;
    pivot(&root)?;
    // As systemd leaves it on real nodes; podman warns otherwise. Not before: pivot_root refuses shared mounts.
    change("/", MsFlags::MS_REC | MsFlags::MS_SHARED)
}

/// Shows a file or folder of the host at another place, which must exist.
pub(super) fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .during(|| format!("bind `{}` to `{}`", from.display(), to.display()))
}

fn file_systems(root: &Path) -> Result<()> {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    fresh("proc", &root.join("proc"), plain | MsFlags::MS_NOEXEC, "")?;
    fresh("sysfs", &root.join("sys"), plain | MsFlags::MS_NOEXEC, "")?;
    // A kernel or container without cgroup v2 is fine: nothing in the bed needs it.
    let _ = fresh("cgroup2", &root.join("sys/fs/cgroup"), plain | MsFlags::MS_NOEXEC, "");
    fresh("tmpfs", &root.join("run"), plain, "mode=755")?;
    // Apptainer warns of builds on a file system without devices.
    fresh("tmpfs", &root.join("tmp"), MsFlags::MS_NOSUID, "mode=1777")?;
    fresh("tmpfs", &root.join("dev"), MsFlags::MS_NOSUID, "mode=755")?;
    for (kind, name, options) in [
        ("devpts", "pts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("tmpfs", "shm", "mode=1777"),
        ("mqueue", "mqueue", ""),
    ] {
        let path = root.join("dev").join(name);
        make_folder(&path)?;
        fresh(kind, &path, plain, options)?;
    }
    Ok(())
}

fn devices(folder: &Path) -> Result<()> {
    make_folder(&folder.join("net"))?;
    for &(name, major, minor) in DEVICES {
        let path = folder.join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(major, minor))
            .during(|| format!("make the device `{}`", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))
            .during(|| format!("set the mode of `{}`", path.display()))?;
    }
    for (name, to) in LINKS {
        symlink(to, folder.join(name)).during(|| format!("link `/dev/{name}`"))?;
    }
    Ok(())
}

/// `/opt/target/debug`, `/opt/target/release`, and the sources, read-only, at `/opt/src`.
fn workspace_below(opt: &Path) -> Result<()> {
    for profile in ["debug", "release"] {
        let (from, to) = (workspace::target().join(profile), opt.join("target").join(profile));
        make_folder(&from)?;
        make_folder(&to)?;
        bind(&from, &to)?;
    }
    let sources = opt.join("src");
    make_folder(&sources)?;
    bind(&workspace::repository(), &sources)?;
    // Else the bed would see itself in there.
    let target = sources.join("target");
    if target.is_dir() {
        fresh("tmpfs", &target, MsFlags::MS_RDONLY, "mode=755")?;
    }
    change(&sources, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY)
}

/// The old root ends up on top of the new one and is taken away there, see pivot_root(2).
fn pivot(root: &Path) -> Result<()> {
    chdir(root).during(|| "enter the root".to_owned())?;
    pivot_root(".", ".").during(|| "make the bed's root the root".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).during(|| "take the host's root away".to_owned())?;
    chdir("/").during(|| "enter the new root".to_owned())
}

fn fresh(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(kind), at, Some(kind), flags, Some(options))
        .during(|| format!("mount {kind} at `{}`", at.display()))
}

fn change(at: impl AsRef<Path>, flags: MsFlags) -> Result<()> {
    let at = at.as_ref();
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .during(|| format!("change the mount `{}`", at.display()))
}
