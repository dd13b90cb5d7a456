//! What the bed's root file system consists of.

use std::fmt::Write;

/// Debian's suite: the only one with all of Apptainer, Slurm 26, podman 5, glab and python3-gitlab.
pub(super) const SUITE: &str = "sid";

/// Packages beside the minimal system, by what they are for.
const PACKAGES: &[&str] = &[
    // The cluster.
    "munge",
    "slurmctld",
    "slurmd",
    "slurm-client",
    // What jobs need on the nodes.
    "apptainer",
    "squashfs-tools",
    "squashfuse",
    "fuse-overlayfs",
    "uidmap",
    "passt",
    "git",
    "git-lfs",
    "ca-certificates",
    "curl",
    // Registry, and podman as the judge of image semantics.
    "docker-registry",
    "skopeo",
    "podman",
    "crun",
    "netavark",
    "aardvark-dns",
    "busybox-static",
    // Real clients for the GitLab stand-in.
    "glab",
    "python3-gitlab",
    // For people and tests.
    "bash",
    "procps",
    "iproute2",
    "less",
    "strace",
    "mount",
    "util-linux",
];

/// A second batch system for the launcher's tests, unpacked without being installed: its dependencies are a mail server and
/// a compiler, and each test runs its own daemons.
const UNPACKED: &[&str] =
    &["gridengine-common", "gridengine-client", "gridengine-exec", "gridengine-master", "libjemalloc2"];

/// Files that nobody reads there: they are half of what dpkg writes.
const LEFT_OUT: &[&str] =
    &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"];

/// The arguments of mmdebstrap, without mirror, target and apt's options for this machine.
pub(super) fn arguments() -> Vec<String> {
    let mut arguments = vec![
        "--variant=minbase".to_owned(),
        "--mode=root".to_owned(),
        "--format=directory".to_owned(),
        format!("--include={}", PACKAGES.join(",")),
        // A half-made root is thrown away anyway.
        "--dpkgopt=force-unsafe-io".to_owned(),
    ];
    let unpack = format!(
        "cd \"$1\"/var/cache/apt/archives && APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get --quiet=2 download {0} && for package in {0}; do dpkg-deb --extract $package\\_*.deb \"$1\"; done",
        UNPACKED.join(" ")
    );
    arguments.push(format!("--customize-hook={unpack}"));
    arguments.extend(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    arguments
}

/// The recipe as text, kept beside the root: another text means another root.
pub(super) fn stamp() -> String {
    let mut text = format!("suite {SUITE}\n");
    for argument in arguments() {
        let _ = writeln!(text, "{argument}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{PACKAGES, stamp};

    #[test]
    fn the_stamp_names_suite_and_every_package() {
        let stamp = stamp();
        assert!(stamp.starts_with("suite sid\n"));
        let included = stamp.lines().find_map(|line| line.strip_prefix("--include=")).unwrap();
        assert_eq!(included.split(',').collect::<Vec<_>>(), PACKAGES);
    }

    #[test]
    fn no_package_is_listed_twice() {
        let mut sorted = PACKAGES.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), PACKAGES.len());
    }
}
