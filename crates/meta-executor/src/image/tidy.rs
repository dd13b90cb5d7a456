//! After a pull: what killed pulls left goes, and images above the limit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::entry::{Entry, is_unfinished};
use super::eviction::{self, Candidate};
use super::in_use;
use super::keeper::Keeper;
use super::layout::Layout;
use super::store::{Store, StoreError, io_error};
use crate::failure::chain;

/// Nodes that unpack from the same layers hold no lock, since they need not wait for each other. So layers that were used
/// lately count as in use.
const LONGEST_UNPACKING: Duration = Duration::from_secs(3600);

impl Store {
    /// Failures are logged: they do not concern the job.
    pub(super) fn tidy(&self) {
        for result in [self.remove_leftovers(), self.evict(), self.evict_layers()] {
            if let Err(error) = result {
                log::warn!("cannot tidy the image store: {}", chain(&error));
            }
        }
    }

    /// What pulls and evictions left that do not run any more.
    fn remove_leftovers(&self) -> Result<(), StoreError> {
        let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for path in children(&self.images).into_iter().filter(|path| is_unfinished(path)) {
            found.entry(self.images.join(stem(&path))).or_default().push(path);
        }
        for path in children(&self.temporary) {
            found.entry(self.images.join(stem(&path))).or_default().push(path);
        }
        for path in self.layers.iter().flat_map(|layers| children(layers)).filter(|path| is_unfinished(path))
        {
            found.entry(path.with_file_name(stem(&path))).or_default().push(path);
        }
        for (of, leftovers) in found {
            // Who works on it holds the lease.
            if let Some(_keeper) = Keeper::try_acquire(&beside(&of, "lease")) {
                self.remove(&leftovers.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    fn evict(&self) -> Result<(), StoreError> {
        let Some(limit) = self.max_size else { return Ok(()) };
        let mut trees = Vec::new();
        {
            // No job may begin to use an image between the look and the renaming.
            let _lock = self.lock(FlockOperation::LockExclusive)?;
            let used = in_use::entries(&self.images);
            let candidates = Entry::all(&self.images).into_iter().map(|entry| Candidate {
                bytes: entry.contents().map_or(0, |contents| contents.census.bytes),
                last_use: entry.last_use(),
                in_use: used.contains(&entry.name()),
                directory: entry.directory().to_owned(),
            });
            for Candidate { directory, .. } in eviction::plan(candidates.collect(), limit) {
                log::info!("removing `{}`: over `image_max_size`", directory.display());
                let evicted = beside(&directory, "evicted");
                fs::rename(&directory, &evicted).map_err(io_error("rename", &directory))?;
                trees.push(evicted);
            }
        }
        self.remove(&trees.iter().map(PathBuf::as_path).collect::<Vec<_>>())
    }

    fn evict_layers(&self) -> Result<(), StoreError> {
        let (Some(limit), Some(layers)) = (self.max_size, &self.layers) else { return Ok(()) };
        let candidates = children(layers).into_iter().filter_map(|directory| {
            let layout = Layout::new(directory.clone());
            let (bytes, last_use) = (layout.size()?, layout.last_use()?);
            // A time to come is another clock's now.
            let in_use = last_use.elapsed().map_or(true, |age| age < LONGEST_UNPACKING);
            Some(Candidate { bytes, last_use, in_use, directory })
        });
        for Candidate { directory, .. } in eviction::plan(candidates.collect(), limit) {
            // Who holds the lease is about to make it anew.
            if let Some(_keeper) = Keeper::try_acquire(&beside(&directory, "lease")) {
                log::info!("removing `{}`: over `image_max_size`", directory.display());
                fs::remove_dir_all(&directory).map_err(io_error("remove", &directory))?;
            }
        }
        Ok(())
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The name of what an unfinished directory was to be.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".partial").trim_end_matches(".evicted").to_owned()
}

/// Not `Path::with_extension`, which would take `.root-only` away.
fn beside(path: &Path, extension: &str) -> PathBuf {
    path.with_file_name(format!("{}.{extension}", path.file_name().unwrap_or_default().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_belong_to_the_entry_whose_name_they_had() {
        for (name, entry) in [
            ("sha256-12.partial", "sha256-12"),
            ("sha256-12.root-only.partial", "sha256-12.root-only"),
            ("sha256-12.root-only.evicted", "sha256-12.root-only"),
            ("sha256-12.root-only", "sha256-12.root-only"),
        ] {
            assert_eq!(stem(&Path::new("/images").join(name)), entry);
        }
        assert_eq!(
            beside(Path::new("/i/sha256-12.root-only"), "lease"),
            Path::new("/i/sha256-12.root-only.lease")
        );
    }
}
