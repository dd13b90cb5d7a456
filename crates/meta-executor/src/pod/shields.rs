//! What docker hides of the kernel's file systems. Apptainer shows the pod's `/proc` and `/sys` as they are, mounts on them
//! included.

use std::path::{Path, PathBuf};

use super::{PodError, mounts};

/// Files and directories that show nothing (moby: `oci/defaults.go`, `MaskedPaths`).
const HIDDEN: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/security",
];

/// What can be read only (the same, `ReadonlyPaths`, and sysfs as a whole).
const READ_ONLY: [&str; 7] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys", "/sys/fs/cgroup"];

/// Covers them in this mount namespace. `empty` is a directory for a tmpfs that stands in for hidden directories.
pub(super) fn put_up(empty: &Path) -> Result<(), PodError> {
    mounts::empty_tmpfs(empty)?;
    for path in HIDDEN.map(Path::new) {
        if path.is_dir() {
            mounts::bind(empty, path)?;
        } else if path.exists() {
            mounts::bind(Path::new("/dev/null"), path)?;
        }
    }
    let read_only: Vec<_> = READ_ONLY.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    // Of sysfs and the control groups the host's own mounts are there, which are changed in this namespace only.
    for path in read_only.iter().filter(|path| path.starts_with("/proc")) {
        mounts::bind(path, path)?;
    }
    mounts::make_read_only(&read_only)
}
