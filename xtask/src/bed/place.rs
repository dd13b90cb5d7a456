//! The bed's files on the host, all below `target/bed`.

use crate::workspace;
use std::path::PathBuf;

fn bed() -> PathBuf {
    workspace::target().join("bed")
}

/// The root file system.
pub(super) fn root() -> PathBuf {
    bed().join("root")
}

/// The root file system while it is being made.
pub(super) fn unfinished_root() -> PathBuf {
    bed().join("root.unfinished")
}

/// The recipe that [`root`] was made from.
pub(super) fn root_stamp() -> PathBuf {
    bed().join("root.recipe")
}

/// Where mmdebstrap unpacks what becomes a tar file.
pub(super) fn temporary() -> PathBuf {
    bed().join("temporary")
}

/// Downloaded packages and the Debian test image.
pub(super) fn cache() -> PathBuf {
    bed().join("cache")
}

/// Process id and start time of the holder.
pub(super) fn holder() -> PathBuf {
    bed().join("holder")
}

/// What holder and daemons print.
pub(super) fn log() -> PathBuf {
    bed().join("holder.log")
}

/// Held by `up` and `down`.
pub(super) fn lock() -> PathBuf {
    bed().join("lock")
}
