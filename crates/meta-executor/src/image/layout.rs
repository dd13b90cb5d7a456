//! The parts of one image as they are in the registry: an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256/`), which
//! other programs read, too.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::SystemTime;

use meta_host::files::{make_private_dir, write_private};
use meta_host::random;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use sha2::{Digest as _, Sha256};

use super::registry::{Manifest, RegistryError, Repository, digest_text, sha256};
use super::store::{StoreError, io_error};
use super::touch::touch;

/// Downloads at once, as docker has them.
const DOWNLOADS: usize = 3;

/// Configurations have a few kB; a larger one is an attack.
const LARGEST_CONFIG: u64 = 16 * 1024 * 1024;

const CHUNK: usize = 256 * 1024;

/// Extension of a file that is being downloaded.
const UNFINISHED: &str = "part";

/// The directory of a layout.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    directory: PathBuf,
}

/// The texts that say what an image is.
pub(super) struct Parts {
    pub(super) manifest: ImageManifest,
    pub(super) config: Vec<u8>,
}

impl Layout {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Manifest and configuration of the image `digest`, if everything is here. Of the layers only their sizes are looked
    /// at; see [`Layout::is_intact`].
    pub(super) fn load(&self, digest: &str) -> Option<Parts> {
        let index = fs::read_to_string(self.directory.join("index.json")).ok()?;
        let text = fs::read(self.path(digest)).ok()?;
        if !index.contains(digest) || sha256(&text) != digest {
            return None;
        }
        let manifest: ImageManifest = serde_json::from_slice(&text).ok()?;
        let config = fs::read(self.blob(manifest.config())).ok()?;
        let is_whole = |layer: &Descriptor| {
            fs::metadata(self.blob(layer)).is_ok_and(|found| found.len() == layer.size())
        };
        (sha256(&config) == manifest.config().digest().as_ref() as &str
            && manifest.layers().iter().all(is_whole))
        .then_some(Parts { manifest, config })
    }

    /// Whether the layers are what the manifest says. Reads them all.
    pub(super) fn is_intact(&self, manifest: &ImageManifest) -> Result<bool, StoreError> {
        for layer in manifest.layers() {
            if !self.is_whole(layer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether this part is here, with its size and digest: a crash of the node leaves files that are shorter, or empty.
    fn is_whole(&self, part: &Descriptor) -> Result<bool, StoreError> {
        let path = self.blob(part);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(io_error("open", &path))?,
        };
        if file.metadata().map_err(io_error("read", &path))?.len() != part.size() {
            return Ok(false);
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer).map_err(io_error("read", &path))? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        Ok(digest_text(hash.finalize().as_slice()) == part.digest().as_ref() as &str)
    }

    pub(super) fn blob(&self, descriptor: &Descriptor) -> PathBuf {
        self.path(descriptor.digest().as_ref())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.directory.join("blobs").join(digest.replace(':', "/"))
    }

    /// Bytes of all parts. `None`: this is no complete layout.
    pub(super) fn size(&self) -> Option<u64> {
        let blobs = fs::read_dir(self.directory.join("blobs/sha256")).ok()?.flatten();
        self.last_use().map(|_| blobs.filter_map(|blob| Some(blob.metadata().ok()?.len())).sum())
    }

    /// When it was unpacked last.
    pub(super) fn last_use(&self) -> Option<SystemTime> {
        fs::metadata(self.directory.join("index.json")).and_then(|found| found.modified()).ok()
    }

    /// Notes that it is unpacked now.
    pub(super) fn touch(&self) -> io::Result<()> {
        touch(&self.directory.join("index.json"))
    }

    /// Gets the image's configuration. Its digest is checked.
    pub(super) fn download_config(
        &self,
        found: &Manifest,
        repository: &Repository<'_>,
    ) -> Result<Parts, StoreError> {
        make_private_dir(&self.directory.join("blobs/sha256")).map_err(StoreError::Prepare)?;
        let descriptor = found.manifest.config();
        let mut config = Vec::new();
        let blob = repository.blob(descriptor)?;
        // One byte more than there should be is enough to see that it is another one.
        let mut blob = blob.take(descriptor.size().min(LARGEST_CONFIG) + 1);
        blob.read_to_end(&mut config).map_err(|source| interrupted(repository, descriptor, source))?;
        check_digest(&sha256(&config), descriptor)?;
        if let Err(error) = serde_json::from_slice::<ImageConfiguration>(&config) {
            return Err(repository.no_image(format!("its configuration makes no sense: {error}")).into());
        }
        write_private(&self.blob(descriptor), &config).map_err(StoreError::Prepare)?;
        write_private(&self.path(&found.digest), &found.text).map_err(StoreError::Prepare)?;
        Ok(Parts { manifest: found.manifest.clone(), config })
    }

    /// Downloads the layers, several at once, and hands over the files of those that are complete, lowest first. A layer
    /// that is here already, since an earlier try came so far, is not loaded again.
    pub(super) fn download_layers(
        &self,
        manifest: &ImageManifest,
        repository: &Repository<'_>,
        mut take: impl FnMut(&[PathBuf]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut known = HashSet::new();
        let different: Vec<&Descriptor> =
            manifest.layers().iter().filter(|layer| known.insert(layer.digest().to_string())).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = channel();
        let download_some = |sender: Sender<Result<String, StoreError>>| {
            while let Some(layer) = different.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.download(layer, repository, &stop).map(|()| layer.digest().to_string());
                // Nobody listens after a failure.
                if sender.send(result).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..DOWNLOADS.min(different.len()) {
                let sender = sender.clone();
                scope.spawn(|| download_some(sender));
            }
            drop(sender);
            let mut complete = HashSet::new();
            let mut waiting = manifest.layers().iter().peekable();
            let result = receiver.iter().try_for_each(|result| {
                complete.insert(result?);
                // Whatever else has come meanwhile is taken in the same go.
                for result in receiver.try_iter() {
                    complete.insert(result?);
                }
                let mut ready = Vec::new();
                while let Some(layer) =
                    waiting.next_if(|layer| complete.contains(layer.digest().as_ref() as &str))
                {
                    ready.push(self.blob(layer));
                }
                if ready.is_empty() { Ok(()) } else { take(&ready) }
            });
            stop.store(result.is_err(), Ordering::Relaxed);
            drop(receiver);
            result
        })
    }

    /// Writes what makes the layout complete, and removes what downloads that were killed left.
    pub(super) fn finish(&self, found: &Manifest) -> Result<(), StoreError> {
        let blobs = self.directory.join("blobs/sha256");
        for blob in fs::read_dir(&blobs).map_err(io_error("read", &blobs))?.flatten() {
            if blob.path().extension().is_some_and(|extension| extension == UNFINISHED) {
                fs::remove_file(blob.path()).map_err(io_error("remove", &blob.path()))?;
            }
        }
        let index = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{ "mediaType": found.media_type(), "digest": found.digest, "size": found.text.len() }],
        });
        for (name, text) in [
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned()),
            ("index.json", index.to_string()),
        ] {
            write_private(&self.directory.join(name), text.as_bytes()).map_err(StoreError::Prepare)?;
        }
        Ok(())
    }

    fn download(
        &self,
        layer: &Descriptor,
        repository: &Repository<'_>,
        stop: &AtomicBool,
    ) -> Result<(), StoreError> {
        let path = self.blob(layer);
        if self.is_whole(layer)? {
            return Ok(());
        }
        // A name of its own: a process that was held up for so long that its lease expired may still write to its own.
        let partial = path.with_extension(format!("{:x}.{UNFINISHED}", random::number()));
        // A registry that does not stop must not fill the disk.
        let mut blob = repository.blob(layer)?.take(layer.size().saturating_add(1));
        let mut file = File::create(&partial).map_err(io_error("make", &partial))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = blob.read(&mut buffer).map_err(|source| interrupted(repository, layer, source))?;
            if count == 0 {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(StoreError::Stopped);
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(io_error("write", &partial))?;
        }
        check_digest(&digest_text(hash.finalize().as_slice()), layer)?;
        fs::rename(&partial, &path).map_err(io_error("finish", &path))
    }
}

fn interrupted(repository: &Repository<'_>, descriptor: &Descriptor, source: io::Error) -> StoreError {
    RegistryError::Interrupted { url: repository.blob_url(descriptor), source }.into()
}

fn check_digest(found: &str, descriptor: &Descriptor) -> Result<(), StoreError> {
    let wanted: &str = descriptor.digest().as_ref();
    if found == wanted { Ok(()) } else { Err(RegistryError::Corrupt(wanted.to_owned()).into()) }
}
