//! The store of images: unpacked ones on this node and, where it is to be shared, their compressed parts for all nodes.
//!
//! ```text
//! images/sha256-DIGEST[.root-only]/   unpacked, made under a temporary name and renamed, never changed   `unpacked`
//! images/in-use/                      which job uses what                                              `in_use`
//! layers/sha256-DIGEST/               the parts as the registry has them, an OCI image layout           `layout`
//! names/HASH.json                     what a complete image name meant last, and who may use it        `names`
//! ```
//!
//! Everything is found by the manifest's digest, and parts of one image are never taken for another: who knows the digest
//! of a layer has not shown that he may read it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use meta_host::file_system::is_local;
use meta_host::files::{FileError, FileErrorKind, make_private_dir};
use oci_spec::image::ImageConfiguration;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use super::census::Census;
use super::layout::{Layout, Parts};
use super::names::Names;
use super::pull_lease::PullLease;
use super::registry::{Manifest, RegistryError, Repository};
use super::unpack::is_full;
use super::unpacked::{self, Found, UnpackedImage, beside};
use super::{in_use, own_command};
use crate::context::Context;
use crate::log_line;
use crate::named_by::NamedBy;
use crate::pod::PodError;
use crate::pod::spec::Mapping;

/// Where images are kept, and for whom.
#[derive(Debug)]
pub(crate) struct Store {
    /// Unpacked, on a disk of this node.
    pub(super) images: PathBuf,
    /// Compressed, maybe shared by nodes; without it they are thrown away when they are unpacked.
    pub(super) layers: Option<PathBuf>,
    /// For compressed parts that are thrown away.
    pub(super) temporary: PathBuf,
    /// Bytes of unpacked images, and of kept layers; above it the least recently used ones go.
    pub(super) max_size: Option<u64>,
    pub(super) mapping: Mapping,
    /// The job's directory on this node: while it is there, the job's images stay.
    job: PathBuf,
    pub(crate) names: Names,
}

/// An image that is ready to use.
#[derive(Debug)]
pub(crate) struct StoredImage {
    pub(crate) rootfs: PathBuf,
    pub(crate) config: ImageConfiguration,
    /// `sha256:...` of the configuration, which docker calls the image's id.
    pub(crate) id: String,
}

/// Why an image is not in the store.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("no such image on this node")]
    NotHere,
    #[error("cannot get the image")]
    Registry(#[from] RegistryError),
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write to the image store")]
    Prepare(#[source] FileError),
    #[error("cannot hold the lock of a pull")]
    Lease(#[source] meta_host::lease::LeaseError),
    #[error("a layer of the image is broken")]
    Broken,
    #[error("no space left on device while the image was unpacked")]
    Full,
    #[error("cannot unpack the image: exit code {0}")]
    Unpack(i32),
    #[error("cannot unpack the image")]
    Pod(#[source] PodError),
    #[error("the pull was stopped")]
    Stopped,
}

impl StoreError {
    /// Whether another try cannot help: then the job fails at once, and its author must change something.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_final(),
            Self::Broken | Self::NotHere => true,
            _ => false,
        }
    }

    /// Whether the same may well succeed in a few seconds.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_transient())
    }

    fn is_full_disk(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Io { source, .. } => is_full(source),
            Self::Prepare(FileError {
                kind: FileErrorKind::Write(source) | FileErrorKind::MakeDirectory(source),
                ..
            }) => is_full(source),
            _ => false,
        }
    }

    /// What to do about it, for who named the image.
    pub(crate) fn hint(&self, named_by: NamedBy) -> String {
        let hint = match self {
            Self::NotHere => "the policy `never` uses only images that this node has; use another policy",
            Self::Registry(error) => return error.hint(named_by),
            Self::Broken => "build the image again and push it",
            _ => {
                "check that the node has room and that `node_dir`, `image_dir` and `image_tmp_dir` can be written; `image_max_size` limits what is kept"
            }
        };
        hint.to_owned()
    }
}

impl Store {
    /// The store of this node, for the job of `context`.
    pub(crate) fn new(context: &Context, mapping: Mapping) -> Self {
        let (settings, node_dir) = (&context.settings, &context.paths.node_dir);
        let image_dir = settings.image_dir.as_ref();
        let (local, shared) = (image_dir.filter(|dir| is_local(dir)), image_dir.filter(|dir| !is_local(dir)));
        let images = local.cloned().unwrap_or_else(|| node_dir.join("images"));
        let layers = settings.image_cache_dir.as_ref().or(shared).cloned();
        let temporary = settings.image_tmp_dir.clone().unwrap_or_else(|| node_dir.join("tmp"));
        Self {
            names: Names { directory: layers.as_ref().unwrap_or(&images).join("names") },
            images,
            layers,
            // It may be shared, too, and the locks of pulls are this node's.
            temporary: temporary.join(&context.environment.hostname),
            max_size: settings.image_max_size,
            mapping,
            job: context.paths.overlay.clone(),
        }
    }

    /// The unpacked image with this manifest digest, if it is here and whole. The job is noted as its user.
    pub(crate) fn get(&self, digest: &str) -> Result<Option<StoredImage>, StoreError> {
        let unpacked = self.unpacked(digest);
        let (image, census) = {
            let _lock = self.lock(FlockOperation::LockShared)?;
            in_use::mark(&self.images, &unpacked, &self.job)
                .map_err(io_error("mark as used", unpacked.directory()))?;
            match unpacked.find(&boot()) {
                Found::Nothing => return Ok(None),
                Found::Good(image) => (image, None),
                Found::Doubtful(image, census) => (image, Some(census)),
            }
        };
        if let Some(census) = census {
            if self.count(&unpacked)? != census {
                log_line(&format!(
                    "WARNING: the unpacked image {digest} is damaged and will be unpacked again"
                ));
                return Ok(None);
            }
            unpacked.write_contents(census, &boot()).map_err(StoreError::Prepare)?;
        }
        // Not worth a failure: it is then evicted a little early.
        let _ = unpacked.touch();
        Ok(Some(*image))
    }

    /// The image from here or, unpacked anew, from what the nodes share. No registry is asked.
    pub(crate) fn find(&self, digest: &str) -> Result<Option<StoredImage>, StoreError> {
        if let Some(image) = self.get(digest)? {
            return Ok(Some(image));
        }
        let kept = self.layers.as_ref().map(|layers| Layout::new(layers.join(file_name(digest))));
        let Some(layout) = kept.filter(|layout| layout.load(digest).is_some()) else { return Ok(None) };
        let made = self.add_with(digest, |rootfs| match intact_parts(&layout, digest)? {
            Some(parts) => self.unpack_kept(&layout, parts, rootfs),
            None => Err(StoreError::NotHere),
        });
        match made {
            Err(StoreError::NotHere) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Downloads and unpacks the image of `found`, unless another process does or has done it. On a full disk what nobody
    /// needs is removed, and if there was such a thing it is tried once more.
    pub(crate) fn add(
        &self,
        found: &Manifest,
        repository: &Repository<'_>,
    ) -> Result<StoredImage, StoreError> {
        match self.try_add(found, repository) {
            Err(error) if error.is_full_disk() => {
                // The room that this takes is not room for the image.
                let _ = fs::remove_dir_all(self.unfinished_layout(&found.digest));
                if self.tidy() > 0 { self.try_add(found, repository) } else { Err(error) }
            }
            result => result,
        }
    }

    /// Where the parts of an image are while they are downloaded.
    fn unfinished_layout(&self, digest: &str) -> PathBuf {
        match &self.layers {
            Some(layers) => beside(&layers.join(file_name(digest)), "partial"),
            None => self.temporary.join(self.unpacked(digest).name()),
        }
    }

    fn try_add(&self, found: &Manifest, repository: &Repository<'_>) -> Result<StoredImage, StoreError> {
        self.add_with(&found.digest, |rootfs| match &self.layers {
            Some(layers) => self.keep_and_unpack(layers, found, repository, rootfs),
            None => {
                let layout = Layout::new(self.unfinished_layout(&found.digest));
                let parts = self.download_and_unpack(&layout, found, repository, rootfs)?;
                fs::remove_dir_all(layout.directory()).map_err(io_error("remove", layout.directory()))?;
                Ok(parts.config)
            }
        })
    }

    /// Makes the unpacked image of `digest`. `unpack` fills the directory that it is given and returns the image's configuration.
    fn add_with(
        &self,
        digest: &str,
        unpack: impl FnOnce(&Path) -> Result<Vec<u8>, StoreError>,
    ) -> Result<StoredImage, StoreError> {
        make_private_dir(&self.images).map_err(StoreError::Prepare)?;
        make_private_dir(&self.temporary).map_err(StoreError::Prepare)?;
        let unpacked = self.unpacked(digest);
        let lease = PullLease::acquire(&unpacked.lease(), digest)?;
        if let Some(image) = self.get(digest)? {
            return Ok(image);
        }
        let partial = unpacked.partial();
        // Of a killed process with the same pid.
        self.remove(&[partial.directory()])?;
        // An image that `get` does not take is damaged. Another job may run from it, so `tidy` removes it when none does.
        match fs::rename(unpacked.directory(), unpacked::evicted(unpacked.directory())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("rename", unpacked.directory())(error));
            }
            _ => {}
        }
        fs::create_dir_all(partial.rootfs()).map_err(io_error("make", &partial.rootfs()))?;
        let made = unpack(&partial.rootfs()).and_then(|config| {
            let census = self.count(&partial)?;
            partial.write_config(&config).map_err(StoreError::Prepare)?;
            partial.write_contents(census, &boot()).map_err(StoreError::Prepare)
        });
        if let Err(error) = made {
            // What stays is removed by the next pull; the first error is the one to report.
            let _ = self.remove(&[partial.directory()]);
            return Err(error);
        }
        if lease.is_lost() {
            return lease.release().and(Err(StoreError::Stopped));
        }
        fs::rename(partial.directory(), unpacked.directory())
            .map_err(io_error("finish", unpacked.directory()))?;
        lease.release()?;
        let image = self.get(digest)?.ok_or(StoreError::NotHere)?;
        self.tidy();
        Ok(image)
    }

    fn keep_and_unpack(
        &self,
        layers: &Path,
        found: &Manifest,
        repository: &Repository<'_>,
        rootfs: &Path,
    ) -> Result<Vec<u8>, StoreError> {
        make_private_dir(layers).map_err(StoreError::Prepare)?;
        let directory = layers.join(file_name(&found.digest));
        let lease = PullLease::acquire(&beside(&directory, "lease"), &found.digest)?;
        let layout = Layout::new(directory.clone());
        if let Some(parts) = intact_parts(&layout, &found.digest)? {
            // Another node was faster. What is complete is not changed any more, so this needs no lock.
            lease.release()?;
            return self.unpack_kept(&layout, parts, rootfs);
        }
        let partial = Layout::new(self.unfinished_layout(&found.digest));
        let parts = self.download_and_unpack(&partial, found, repository, rootfs)?;
        if lease.is_lost() {
            return lease.release().and(Err(StoreError::Stopped));
        }
        // A damaged one under the final name.
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(io_error("remove", &directory)(error));
        }
        fs::rename(partial.directory(), &directory).map_err(io_error("finish", &directory))?;
        lease.release()?;
        Ok(parts.config)
    }

    fn download_and_unpack(
        &self,
        layout: &Layout,
        found: &Manifest,
        repository: &Repository<'_>,
        rootfs: &Path,
    ) -> Result<Parts, StoreError> {
        let parts = layout.download_config(found, repository)?;
        layout.download_layers(&found.manifest, repository, |layers| self.unpack(layers, rootfs))?;
        layout.finish(found)?;
        Ok(parts)
    }

    fn unpack_kept(&self, layout: &Layout, parts: Parts, rootfs: &Path) -> Result<Vec<u8>, StoreError> {
        let layers: Vec<PathBuf> = parts.manifest.layers().iter().map(|layer| layout.blob(layer)).collect();
        // First, so that no other node evicts it meanwhile. Not worth a failure.
        let _ = layout.touch();
        self.unpack(&layers, rootfs)?;
        Ok(parts.config)
    }

    fn unpack(&self, layers: &[PathBuf], rootfs: &Path) -> Result<(), StoreError> {
        let words = ["unpack".to_owned(), rootfs.display().to_string()].into_iter();
        own_command::run(
            words.chain(layers.iter().map(|layer| layer.display().to_string())).collect(),
            self.mapping,
        )
    }

    fn count(&self, unpacked: &UnpackedImage) -> Result<Census, StoreError> {
        let answer = unpacked.directory().join("census.json");
        let words = ["census", &unpacked.rootfs().display().to_string(), &answer.display().to_string()];
        own_command::run(words.map(str::to_owned).to_vec(), self.mapping)?;
        let text = fs::read(&answer).map_err(io_error("read", &answer))?;
        serde_json::from_slice(&text).map_err(|error| io_error("understand", &answer)(error.into()))
    }

    pub(super) fn remove(&self, trees: &[&Path]) -> Result<(), StoreError> {
        let there = trees.iter().filter(|tree| tree.symlink_metadata().is_ok());
        let words: Vec<String> = there.map(|tree| tree.display().to_string()).collect();
        if words.is_empty() {
            return Ok(());
        }
        own_command::run(["remove".to_owned()].into_iter().chain(words).collect(), self.mapping)
    }

    pub(super) fn unpacked(&self, digest: &str) -> UnpackedImage {
        UnpackedImage::new(&self.images, digest, self.mapping)
    }

    /// Keeps evictions away (shared) or everybody else (exclusive) for the moment between a look and what follows from it.
    /// Only processes of this node have to do with unpacked images.
    pub(super) fn lock(&self, kind: FlockOperation) -> Result<File, StoreError> {
        make_private_dir(&self.images).map_err(StoreError::Prepare)?;
        let path = self.images.join(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io_error("open", &path))?;
        flock(&file, kind).map_err(|error| io_error("lock", &path)(error.into()))?;
        Ok(file)
    }
}

/// Manifest and configuration of kept layers that are what their digests say.
fn intact_parts(layout: &Layout, digest: &str) -> Result<Option<Parts>, StoreError> {
    let Some(parts) = layout.load(digest) else { return Ok(None) };
    if layout.is_intact(&parts.manifest)? {
        return Ok(Some(parts));
    }
    log_line(&format!("WARNING: the kept layers of {digest} are damaged and will be pulled again"));
    Ok(None)
}

fn file_name(digest: &str) -> String {
    digest.replace(':', "-")
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
