//! After a pull: what killed pulls left goes, and images above the limit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::eviction::{self, Candidate};
use super::in_use;
use super::layout::Layout;
use super::pull_lease::PullLease;
use super::store::{Store, StoreError, io_error};
use super::unpacked::{
    self, UnpackedImage, beside, can_be_removed, finished_name, is_evicted, is_unfinished,
};
use crate::failure::chain;

/// Nodes that unpack from the same layers hold no lock, since they need not wait for each other. So layers that were used
/// lately count as in use.
const LONGEST_UNPACKING: Duration = Duration::from_secs(3600);

impl Store {
    /// Says how many directories it removed. Failures are logged: they do not concern the job.
    pub(super) fn tidy(&self) -> usize {
        let results = [self.remove_leftovers(), self.evict(), self.evict_layers()].into_iter();
        let removed = results.map(|result| {
            result.unwrap_or_else(|error| {
                log::warn!("cannot tidy the image store: {}", chain(&error));
                0
            })
        });
        removed.sum()
    }

    /// What pulls and evictions left that do not run any more. Damaged images that jobs still run from stay, and those whose
    /// owners this job cannot become.
    fn remove_leftovers(&self) -> Result<usize, StoreError> {
        let used = in_use::names(&self.images);
        let is_free = |path: &Path| !is_evicted(path) || !used.contains(&finished_name(path));
        let is_ours = |path: &Path| can_be_removed(&finished_name(path), self.mapping);
        let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for path in children(&self.images)
            .into_iter()
            .filter(|path| is_unfinished(path) && is_free(path) && is_ours(path))
        {
            found.entry(self.images.join(finished_name(&path))).or_default().push(path);
        }
        for path in children(&self.temporary) {
            found.entry(self.images.join(finished_name(&path))).or_default().push(path);
        }
        for path in self.layers.iter().flat_map(|layers| children(layers)).filter(|path| is_unfinished(path))
        {
            found.entry(path.with_file_name(finished_name(&path))).or_default().push(path);
        }
        let mut removed = 0;
        for (of, leftovers) in found {
            // Who works on it holds the lease.
            if let Some(_lease) = PullLease::try_acquire(&beside(&of, "lease")) {
                self.remove(&leftovers.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
                removed += leftovers.len();
            }
        }
        Ok(removed)
    }

    fn evict(&self) -> Result<usize, StoreError> {
        let Some(limit) = self.max_size else { return Ok(0) };
        let mut trees = Vec::new();
        {
            // No job may begin to use an image between the look and the renaming.
            let _lock = self.lock(FlockOperation::LockExclusive)?;
            let used = in_use::names(&self.images);
            let candidates = UnpackedImage::all(&self.images).into_iter().map(|unpacked| Candidate {
                bytes: unpacked.contents().map_or(0, |contents| contents.census.bytes),
                last_use: unpacked.last_use(),
                stays: used.contains(&unpacked.name()) || !can_be_removed(&unpacked.name(), self.mapping),
                directory: unpacked.directory().to_owned(),
            });
            for Candidate { directory, .. } in eviction::plan(candidates.collect(), limit) {
                log::info!("removing `{}`: over `image_max_size`", directory.display());
                let evicted = unpacked::evicted(&directory);
                fs::rename(&directory, &evicted).map_err(io_error("rename", &directory))?;
                trees.push(evicted);
            }
        }
        self.remove(&trees.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        Ok(trees.len())
    }

    fn evict_layers(&self) -> Result<usize, StoreError> {
        let (Some(limit), Some(layers)) = (self.max_size, &self.layers) else { return Ok(0) };
        let mut removed = 0;
        let candidates = children(layers).into_iter().filter_map(|directory| {
            let layout = Layout::new(directory.clone());
            let (bytes, last_use) = (layout.size()?, layout.last_use()?);
            // A time to come is another clock's now.
            let stays = last_use.elapsed().map_or(true, |age| age < LONGEST_UNPACKING);
            Some(Candidate { bytes, last_use, stays, directory })
        });
        for Candidate { directory, .. } in eviction::plan(candidates.collect(), limit) {
            // Who holds the lease is about to make it anew.
            if let Some(_lease) = PullLease::try_acquire(&beside(&directory, "lease")) {
                log::info!("removing `{}`: over `image_max_size`", directory.display());
                fs::remove_dir_all(&directory).map_err(io_error("remove", &directory))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
