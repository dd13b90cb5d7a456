//! Which job uses which image: a link per job and image, which leads to the job's own directory. It counts while that is
//! there, so a job that is cleaned up, or swept away after a crash, lets go of its images by that alone.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::unpacked::UnpackedImage;

const DIRECTORY: &str = "in-use";

/// Says that the job with the directory `job` uses `unpacked`.
pub(super) fn mark(images: &Path, unpacked: &UnpackedImage, job: &Path) -> io::Result<()> {
    let name = job.file_name().unwrap_or_default().to_string_lossy();
    let directory = images.join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    match symlink(job, directory.join(format!("{}@{name}", unpacked.name()))) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Names of the images that jobs use. Marks of jobs that are gone are removed.
pub(super) fn names(images: &Path) -> Vec<String> {
    let marks = fs::read_dir(images.join(DIRECTORY)).into_iter().flatten().flatten();
    let living = |mark: &PathBuf| {
        let lives = mark.exists();
        if !lives {
            // Another process may have removed it first.
            let _ = fs::remove_file(mark);
        }
        lives
    };
    marks.map(|mark| mark.path()).filter(living).filter_map(|mark| image_name(&mark)).collect()
}

fn image_name(mark: &Path) -> Option<String> {
    Some(mark.file_name()?.to_str()?.split_once('@')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::spec::Mapping;

    #[test]
    fn an_image_is_in_use_while_its_job_has_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (images, job) = (directory.path(), directory.path().join("node1-custom-executor1"));
        let unpacked = UnpackedImage::new(images, "sha256:12", Mapping::RootOnly);
        assert_eq!(names(images), Vec::<String>::new());
        fs::create_dir(&job).unwrap();
        mark(images, &unpacked, &job).unwrap();
        mark(images, &unpacked, &job).unwrap();
        assert_eq!(names(images), ["sha256-12.root-only"]);
        fs::remove_dir(&job).unwrap();
        assert_eq!(names(images), Vec::<String>::new());
        assert_eq!(fs::read_dir(images.join(DIRECTORY)).unwrap().count(), 0);
    }
}
