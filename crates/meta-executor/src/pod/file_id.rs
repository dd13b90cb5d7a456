//! Which file something is, whatever path leads to it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PodError;

/// Device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of what `path` leads to.
    pub(super) fn of(path: &Path) -> Result<Self, PodError> {
        fs::metadata(path).map(|found| Self::from(&found)).map_err(|source| PodError::Io {
            action: "look at",
            path: path.to_owned(),
            source,
        })
    }
}

impl From<&Metadata> for FileId {
    fn from(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}
