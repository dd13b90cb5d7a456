//! The root of the stages that run in the job's image: a writable layer over the unpacked image.
//!
//! We mount the overlay ourselves: Apptainer mounts it without `userxattr`, and then dpkg and `rm -rf` fail in a user
//! namespace because removed directories cannot be marked (overlayfs documentation, "User xattr").

use std::path::Path;

use nix::mount::{self, MsFlags};

use super::spec::ImageRoot;
use super::{PodError, mounts, on_path};

/// Mounts the overlay and prepares in it what Apptainer needs. The caller's root stays the host's.
pub(super) fn mount(root: &ImageRoot) -> Result<(), PodError> {
    // Apptainer looks at its own processes; the host's /proc shows others.
    mounts::proc(Path::new("/proc"))?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr",
        escaped(&root.lower),
        escaped(&root.upper),
        escaped(&root.work)
    );
    mount::mount(Some("overlay"), &root.merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(on_path("mount the job's file system on", &root.merged))?;
    for directory in &root.directories {
        mounts::make_directory(&mounts::below(&root.merged, directory))?;
    }
    for file in &root.files {
        mounts::make_file(&mounts::below(&root.merged, file))?;
    }
    mounts::tmpfs(&root.shm, &format!("mode=1777,size={}", root.shm_size))
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
