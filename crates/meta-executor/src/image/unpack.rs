//! Unpacks the layers of an image, inside the user namespace of a pod, so that owners survive where ids are mapped.
//!
//! Links of the image lead where they lead in the image, and nothing can be written outside: `tree` resolves every path with
//! the image as root. That needs no right to change the root, so it also works where there is no pod.

mod decompress;
mod layer;
mod tree;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use self::tree::Tree;

/// Why a layer can't be unpacked.
#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    #[error("cannot open `{path}`")]
    Open { path: PathBuf, source: io::Error },
    #[error("layer `{layer}` is broken")]
    Layer { layer: PathBuf, source: io::Error },
    #[error("cannot unpack `{path}` of layer `{layer}`")]
    Entry { path: PathBuf, layer: PathBuf, source: io::Error },
}

impl UnpackError {
    /// Whether the image is at fault, whatever node unpacks it. A disk that cannot be read is this node's.
    pub(crate) fn is_the_images(&self) -> bool {
        matches!(self, Self::Layer { source, .. } if source.raw_os_error().is_none())
    }

    /// Whether there is no room.
    pub(crate) fn is_full_disk(&self) -> bool {
        let (Self::Open { source, .. } | Self::Layer { source, .. } | Self::Entry { source, .. }) = self;
        is_full(source)
    }
}

/// Whether there is no room on the disk, or none for this user.
pub(super) fn is_full(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|number| [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error).contains(&number))
}

/// Unpacks `layers`, lowest first, over what is in the directory `rootfs`.
pub(crate) fn unpack(layers: &[PathBuf], rootfs: &Path) -> Result<(), UnpackError> {
    let opening = |path: &Path, source| UnpackError::Open { path: path.to_owned(), source };
    let mut tree = Tree::open(rootfs).map_err(|source| opening(rootfs, source.into()))?;
    for path in layers {
        let file = File::open(path).map_err(|source| opening(path, source))?;
        layer::unpack(file, &mut tree, path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
