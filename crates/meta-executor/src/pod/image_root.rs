//! The root of the stages that run in the job's image: a writable layer over the unpacked image.
//!
//! We mount the overlay ourselves: Apptainer mounts it without `userxattr`, and then dpkg and `rm -rf` fail in a user
//! namespace because removed directories cannot be marked (overlayfs documentation, "User xattr").

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{self, MsFlags};
use rustix::fs::symlinkat;
use rustix::io::Errno;

use super::spec::ImageRoot;
use super::{PodError, devices, mounts, on_path, shields};
use crate::rooted;

/// Mounts the overlay and prepares in it what Apptainer needs. The caller's root stays the host's.
pub(super) fn mount(root: &ImageRoot) -> Result<(), PodError> {
    for directory in [root.upper(), root.work(), root.merged(), root.dev(), root.empty()] {
        mounts::make_directory(&directory)?;
    }
    // It becomes the mode of the job's `/`.
    fs::set_permissions(root.upper(), Permissions::from_mode(0o755)).map_err(|source| PodError::Io {
        action: "open",
        path: root.upper(),
        source,
    })?;
    // Apptainer looks at its own processes; the host's /proc shows others.
    mounts::proc(Path::new("/proc"))?;
    shields::put_up(&root.empty())?;
    for program in &root.hidden_programs {
        mounts::bind(Path::new("/dev/null"), program)?;
    }
    mount_layer(root)?;
    let image = open_root(&root.merged())?;
    devices::make(&root.dev(), root.shm_size, &root.devices)?;
    let dev = open_root(&root.dev())?;
    // What is mounted on a device directory needs its place there: it covers the image's.
    let place = |path: &Path| match path.strip_prefix("/dev") {
        Ok(rest) => (&dev, rest.to_owned()),
        Err(_) => (&image, path.to_owned()),
    };
    rooted::make_directories(&image, Path::new("/dev")).map_err(not_made(Path::new("/dev")))?;
    for directory in &root.directories {
        let (tree, path) = place(directory);
        rooted::make_directories(tree, &path).map_err(not_made(directory))?;
    }
    for file in &root.files {
        let (tree, path) = place(file);
        rooted::make_file(tree, &path).map_err(not_made(file))?;
    }
    make_mount_table(&image)
}

/// Mounts the layer over the image, as volatile: at the end of the stage overlayfs would else write out everything that the
/// node's file system has to write, other jobs' data included, and each fsync(2) of a package manager would wait for the disk.
/// A layer that its job outlives is removed and never read again, so nothing is lost with it.
fn mount_layer(root: &ImageRoot) -> Result<(), PodError> {
    // overlayfs refuses a layer with this mark, because the node may have crashed since. If it had, the job would be gone.
    match fs::remove_dir_all(root.work().join("work/incompat/volatile")) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(PodError::Io { action: "use again", path: root.work(), source: error });
        }
        _ => {}
    }
    let merged = root.merged();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr",
        escaped(&root.lower),
        escaped(&root.upper()),
        escaped(&root.work())
    );
    let mount = |options: &str| {
        mount::mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options))
    };
    match mount(&format!("{options},volatile")) {
        // Kernels of distributions that took over `userxattr` without it.
        Err(nix::Error::EINVAL) => mount(&options),
        result => result,
    }
    .map_err(on_path("mount the job's file system on", &merged))
}

fn open_root(path: &Path) -> Result<OwnedFd, PodError> {
    rooted::open_root(path).map_err(|source| PodError::Io {
        action: "open",
        path: path.to_owned(),
        source: source.into(),
    })
}

fn not_made(path: &Path) -> impl FnOnce(Errno) -> PodError {
    let path = path.to_owned();
    |source| PodError::Io { action: "make in the image", path, source: source.into() }
}

/// Old programs look for mounts there, and docker makes it in every container.
fn make_mount_table(image: &OwnedFd) -> Result<(), PodError> {
    let etc = rooted::open_directory(image, Path::new("etc"));
    match etc.and_then(|etc| symlinkat("/proc/mounts", etc, "mtab")) {
        // An image without `/etc` does without.
        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(source) => Err(not_made(Path::new("/etc/mtab"))(source)),
    }
}

/// overlayfs separates options by commas and lower directories by colons.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escaped(Path::new("/a:b,c")), "/a\\:b\\,c");
    }
}
