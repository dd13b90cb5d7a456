//! The image's `sh`: it sets the container's environment and becomes what docker would start.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::entry::{DEFAULT_PATH, image_variables};

/// The last place where gitlab-runner looks for a shell; images without a distribution have it there.
const BUSYBOX: &str = "/busybox";

/// Where `sh` is in the image at `rootfs`: on the PATH of its variables `env`, as docker finds it, else at one of the usual
/// places.
pub(crate) fn find(rootfs: &Path, env: &[String]) -> Option<PathBuf> {
    let root = open(rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // Links lead where they lead in the image.
    let is_there = |shell: &PathBuf| {
        let found =
            openat2(&root, shell, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
        // Behind a directory that is closed to us there may be one.
        !matches!(found, Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
    };
    let own = image_variables(env).filter(|(name, _)| name == "PATH").last();
    let own = own.map(|(_, path)| path).unwrap_or_default();
    let places = own.split(':').chain(DEFAULT_PATH.split(':')).chain([BUSYBOX]);
    places.map(Path::new).filter(|place| place.is_absolute()).map(|place| place.join("sh")).find(is_there)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use super::*;

    /// The shell of an image with these files, and links to others.
    fn check(files: &[&str], links: &[(&str, &str)], env: &[&str], expected: Option<&str>) {
        let image = tempfile::tempdir().unwrap();
        let place = |path: &str| {
            let path = image.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        files.iter().for_each(|file| drop(File::create(place(file)).unwrap()));
        links.iter().for_each(|(link, target)| symlink(target, place(link)).unwrap());
        let env: Vec<String> = env.iter().map(|&entry| entry.to_owned()).collect();
        assert_eq!(find(image.path(), &env), expected.map(PathBuf::from), "{files:?} {links:?} {env:?}");
    }

    #[test]
    fn a_shell_is_found_on_the_images_path() {
        check(&["bin/sh"], &[], &[], Some("/bin/sh"));
        check(&["busybox/sh"], &[], &["PATH=/bin:/busybox"], Some("/busybox/sh"));
        check(&["opt/only/sh", "bin/sh"], &[], &["PATH=/opt/only"], Some("/opt/only/sh"));
        check(&["bin/sh"], &[], &["PATH=/opt/only:relative"], Some("/bin/sh"));
        check(&["busybox/sh"], &[], &[], Some("/busybox/sh"));
    }

    #[test]
    fn links_lead_to_files_of_the_image_only() {
        check(&["usr/bin/dash"], &[("bin", "usr/bin"), ("usr/bin/sh", "dash")], &[], Some("/usr/bin/sh"));
        check(&["usr/bin/env"], &[("bin", "usr/bin")], &[], None);
        check(&["usr/bin/env"], &[("usr/bin/sh", "/bin/sh"), ("bin", "usr/bin")], &[], None);
        check(&["etc/passwd"], &[], &[], None);
    }
}
