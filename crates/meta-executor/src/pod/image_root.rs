//! The root of the stages that run in the job's image: a writable layer over the unpacked image.
//!
//! We mount the overlay ourselves: Apptainer mounts it without `userxattr`, and then dpkg and `rm -rf` fail in a user
//! namespace because removed directories cannot be marked (overlayfs documentation, "User xattr").

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::mount::{self, MsFlags};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2, symlinkat};
use rustix::io::Errno;

use super::spec::ImageRoot;
use super::{PodError, devices, mounts, on_path, shields};

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
    mount_layer(root)?;
    let image = open_directory(&root.merged())?;
    devices::make(&root.dev(), root.shm_size, &root.devices)?;
    let dev = open_directory(&root.dev())?;
    // What is mounted on a device directory needs its place there: it covers the image's.
    let place = |path: &Path| match path.strip_prefix("/dev") {
        Ok(rest) => (&dev, rest.to_owned()),
        Err(_) => (&image, path.to_owned()),
    };
    make_directory(&image, Path::new("/dev"))?;
    for directory in &root.directories {
        let (tree, path) = place(directory);
        make_directory(tree, &path)?;
    }
    for file in &root.files {
        let (tree, path) = place(file);
        make_directory(tree, path.parent().unwrap_or(Path::new("/")))?;
        make_file(tree, &path)?;
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

fn open_directory(path: &Path) -> Result<OwnedFd, PodError> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| PodError::Io { action: "open", path: path.to_owned(), source: source.into() })
}

/// Makes `path` in the image. Links of the image lead where they lead in the image (openat2(2), `RESOLVE_IN_ROOT`): as
/// plain paths they could lead to the user's own files.
fn make_directory(image: &OwnedFd, path: &Path) -> Result<(), PodError> {
    let failed = |source: Errno| PodError::Io {
        action: "make in the image",
        path: path.to_owned(),
        source: source.into(),
    };
    let mut done = PathBuf::from(".");
    for name in path.components().filter(|part| matches!(part, Component::Normal(_))) {
        let parent = open_inside(image, &done, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?;
        match mkdirat(&parent, name.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => done.push(name),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Makes an empty file in the image, if there is none.
fn make_file(image: &OwnedFd, path: &Path) -> Result<(), PodError> {
    let inside = path.strip_prefix("/").unwrap_or(path);
    match open_inside(image, inside, OFlags::CREATE | OFlags::WRONLY | OFlags::NOCTTY) {
        Ok(_) => Ok(()),
        Err(source) => {
            Err(PodError::Io { action: "make in the image", path: path.to_owned(), source: source.into() })
        }
    }
}

/// Old programs look for mounts there, and docker makes it in every container.
fn make_mount_table(image: &OwnedFd) -> Result<(), PodError> {
    let etc = open_inside(image, Path::new("etc"), OFlags::PATH | OFlags::DIRECTORY);
    match etc.and_then(|etc| symlinkat("/proc/mounts", etc, "mtab")) {
        // An image without `/etc` does without.
        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(source) => {
            Err(PodError::Io { action: "make in the image", path: "/etc/mtab".into(), source: source.into() })
        }
    }
}

fn open_inside(image: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // openat2 refuses a mode where nothing is made.
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    openat2(image, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)
}

/// overlayfs separates options by commas and lower directories by colons.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_the_image_lead_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let (image, outside) = (directory.path().join("image"), directory.path().join("outside"));
        fs::create_dir_all(image.join("real")).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, image.join("etc")).unwrap();
        std::os::unix::fs::symlink("/real", image.join("var")).unwrap();
        let root = open_directory(&image).unwrap();
        assert!(make_file(&root, Path::new("/etc/hosts")).is_err(), "the link leads to nothing in the image");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        make_directory(&root, Path::new("/var/tmp")).unwrap();
        make_file(&root, Path::new("/var/hosts")).unwrap();
        assert!(image.join("real/tmp").is_dir() && image.join("real/hosts").is_file());
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escaped(Path::new("/a:b,c")), "/a\\:b\\,c");
    }
}
