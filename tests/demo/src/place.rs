//! The demo's directory.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::DemoError;

/// A new directory with a name of its own, which is also the name of the demo's batch jobs.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
}

impl Place {
    /// Makes the directory below `parent`, with what the demo needs in it.
    pub(crate) fn make(parent: &Path) -> Result<Self, DemoError> {
        let failed = |path: &Path, source| DemoError::File { path: path.to_owned(), source };
        fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
        let parent = parent.canonicalize().map_err(|source| failed(parent, source))?;
        // Removed by `leftovers`: images have files that only a user namespace can remove.
        let directory = TempDir::with_prefix_in("meta-runner-demo-", &parent)
            .map_err(|source| failed(&parent, source))?
            .keep();
        for path in ["bin", "data", "logs", "checkout"].map(|name| directory.join(name)) {
            fs::DirBuilder::new().mode(0o700).create(&path).map_err(|source| failed(&path, source))?;
        }
        Ok(Self { directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The last part of the path: nothing else on this machine is called so.
    pub(crate) fn name(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// `PATH` with the demo's own programs first.
    pub(crate) fn search_path(&self) -> String {
        let inherited = std::env::var("PATH").unwrap_or_default();
        format!("{}:{inherited}", self.join("bin").display())
    }

    /// Writes a file that only we can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        let path = self.join(name);
        let write = || {
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        };
        write().map_err(|source| DemoError::File { path: path.clone(), source })?;
        Ok(path)
    }
}
