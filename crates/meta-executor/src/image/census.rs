//! How many files an unpacked image has and how large they are: what a crash of the node or a cleaner of old files leaves
//! differs in one of the two.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What is in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Census {
    /// Entries of every kind.
    pub(crate) files: u64,
    /// Sum of the sizes of regular files.
    pub(crate) bytes: u64,
}

impl Census {
    /// Counts what is below `tree`. Links are not followed.
    pub(crate) fn of(tree: &Path) -> io::Result<Self> {
        let mut census = Self::default();
        // Not by recursion: nobody knows how deep an image is.
        let mut directories = vec![tree.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let found = entry.metadata()?;
                census.files += 1;
                if found.is_file() {
                    census.bytes += found.len();
                } else if found.is_dir() {
                    directories.push(entry.path());
                }
            }
        }
        Ok(census)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_shorter_file_and_a_missing_one_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path();
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::File::create(tree.join("a/b/file")).unwrap().write_all(b"12345").unwrap();
        std::os::unix::fs::symlink("/", tree.join("a/root")).unwrap();
        let whole = Census::of(tree).unwrap();
        assert_eq!(whole, Census { files: 4, bytes: 5 });
        fs::File::create(tree.join("a/b/file")).unwrap();
        assert_ne!(Census::of(tree).unwrap(), whole);
        fs::remove_file(tree.join("a/b/file")).unwrap();
        assert_ne!(Census::of(tree).unwrap(), whole);
    }
}
