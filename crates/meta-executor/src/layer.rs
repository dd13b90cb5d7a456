//! The job's writable layer between its stages.
//!
//! docker keeps the container from the script to after_script, and removes it when the script was cancelled or timed out:
//! after_script then starts from the image.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::context::JobPaths;
use crate::failure::StageFailure;

/// Marks the layer as used. One that an earlier stage could not finish with is set aside; `cleanup` removes it.
pub(crate) fn begin(paths: &JobPaths) -> Result<(), StageFailure> {
    let mark = mark(paths);
    let begin = || {
        if mark.exists() {
            set_aside(&paths.overlay)?;
        }
        File::create(&mark).map(drop)
    };
    begin().map_err(|error| StageFailure::disk(&mark, &error))
}

/// Keeps the layer for the next stage.
pub(crate) fn finish(paths: &JobPaths) -> Result<(), StageFailure> {
    let mark = mark(paths);
    fs::remove_file(&mark).map_err(|error| StageFailure::disk(&mark, &error))
}

fn mark(paths: &JobPaths) -> PathBuf {
    paths.overlay.join("in-use")
}

fn set_aside(overlay: &Path) -> io::Result<()> {
    let names = (0..).map(|number| overlay.join(format!("discarded-{number}")));
    let Some(discarded) = names.into_iter().find(|path| !path.exists()) else { return Ok(()) };
    fs::create_dir(&discarded)?;
    // Both, because overlayfs wants an upper directory and the work directory that belongs to it.
    for name in ["upper", "work"] {
        match fs::rename(overlay.join(name), discarded.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unfinished_layer_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let overlay = directory.path().to_owned();
        let paths = JobPaths {
            builds_dir: overlay.clone(),
            job: overlay.clone(),
            node_dir: overlay.clone(),
            overlay: overlay.clone(),
        };
        begin(&paths).unwrap();
        fs::create_dir_all(overlay.join("upper/kept")).unwrap();
        finish(&paths).unwrap();
        begin(&paths).unwrap();
        assert!(overlay.join("upper/kept").is_dir());
        begin(&paths).unwrap();
        begin(&paths).unwrap();
        assert!(!overlay.join("upper").exists() && overlay.join("discarded-0/upper/kept").is_dir());
    }
}
