//! The store of unpacked images: one directory per manifest digest, made under a temporary name and renamed, never changed.
//!
//! ```text
//! images/sha256-DIGEST[.root-only]/{rootfs/, config.json}
//! images/names/HASH.json      what a complete image name meant last, and who may use it without asking the registry
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta_host::files::{make_private_dir, read_private, write_private};
use meta_host::lease::Lease;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::names;
pub(crate) use super::names::NameRecord;
use super::platform::Platform;
use super::reference::Reference;
use super::registry::{Manifest, RegistryError, Repository, digest_text, sha256};
use crate::context::Context;
use crate::pod::spec::{Mapping, PodCommand, PodSpec, RootSpec};
use crate::pod::{PodError, driver};

/// How long to wait for another process that pulls the same image: a large one may take minutes.
const PULL_WAIT: Duration = Duration::from_secs(1800);

/// Where images are kept on this node.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) images: PathBuf,
    /// For layers while they are downloaded.
    pub(crate) temporary: PathBuf,
    pub(crate) mapping: Mapping,
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
    #[error("cannot prepare the image store")]
    Prepare(#[source] meta_host::files::FileError),
    #[error("cannot wait for another pull of the same image")]
    Lease(#[source] meta_host::lease::LeaseError),
    #[error("cannot understand the image's configuration")]
    Config { source: serde_json::Error },
    #[error("cannot unpack the image: exit code {0}")]
    Unpack(i32),
    #[error("cannot unpack the image")]
    Pod(#[source] PodError),
}

impl StoreError {
    /// Whether another try cannot help: then the job fails at once, and its author must change something.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_final(),
            Self::Config { .. } | Self::NotHere => true,
            _ => false,
        }
    }

    /// Whether the same may well succeed in a few seconds.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_transient())
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Registry(error) => error.hint(),
            Self::NotHere => "the policy `never` uses only images that this node has; use another policy",
            Self::Config { .. } => "the image is broken; build and push it again",
            _ => "check that the node has room and that `image_dir` and `node_dir` can be written",
        }
    }
}

impl Store {
    /// The store of this node.
    pub(crate) fn new(context: &Context, mapping: Mapping) -> Self {
        let (settings, node_dir) = (&context.settings, &context.paths.node_dir);
        Self {
            images: settings.image_dir.clone().unwrap_or_else(|| node_dir.join("images")),
            temporary: settings.image_tmp_dir.clone().unwrap_or_else(|| node_dir.join("tmp")),
            mapping,
        }
    }

    /// The image with this manifest digest, if it is here.
    pub(crate) fn get(&self, digest: &str) -> Option<StoredImage> {
        let directory = self.directory(digest);
        let text = fs::read(directory.join("config.json")).ok()?;
        let config = serde_json::from_slice(&text).ok()?;
        Some(StoredImage { rootfs: directory.join("rootfs"), config, id: sha256(&text) })
    }

    /// What `name` meant for `platform` when it was last asked for.
    pub(crate) fn record(&self, name: &Reference, platform: &Platform) -> Option<NameRecord> {
        let text = read_private(&self.names().join(names::file_name(name, platform))).ok()?;
        serde_json::from_str(&text).ok().filter(|record: &NameRecord| record.is_of(name, platform))
    }

    /// Remembers what a name means.
    pub(crate) fn remember(
        &self,
        name: &Reference,
        platform: &Platform,
        record: &NameRecord,
    ) -> Result<(), StoreError> {
        make_private_dir(&self.names()).map_err(StoreError::Prepare)?;
        let text = serde_json::to_string_pretty(record).expect("a record has only strings and numbers");
        write_private(&self.names().join(names::file_name(name, platform)), text.as_bytes())
            .map_err(StoreError::Prepare)
    }

    fn names(&self) -> PathBuf {
        self.images.join("names")
    }

    /// Downloads and unpacks the image of `manifest`, unless another process does or has done it.
    pub(crate) fn add(
        &self,
        found: &Manifest,
        repository: &Repository<'_>,
    ) -> Result<StoredImage, StoreError> {
        let (digest, manifest) = (found.digest.as_str(), &found.manifest);
        make_private_dir(&self.images).map_err(StoreError::Prepare)?;
        make_private_dir(&self.temporary).map_err(StoreError::Prepare)?;
        let directory = self.directory(digest);
        let lease =
            Lease::acquire(&directory.with_extension("lease"), PULL_WAIT).map_err(StoreError::Lease)?;
        if let Some(image) = self.get(digest) {
            return Ok(image);
        }
        let partial = directory.with_extension("partial");
        // An entry that `get` does not take is broken; a partial one is what a killed puller left.
        self.remove(&[&partial, &directory])?;
        let rootfs = partial.join("rootfs");
        fs::create_dir_all(&rootfs).map_err(io_error("make", &rootfs))?;
        let config = read_all(repository, manifest.config())?;
        serde_json::from_slice::<ImageConfiguration>(&config)
            .map_err(|source| StoreError::Config { source })?;
        let layers = self.download(manifest, repository)?;
        self.unpack(&layers, &rootfs)?;
        // Last: its presence says that the rest is complete.
        write_private(&partial.join("config.json"), &config).map_err(StoreError::Prepare)?;
        fs::rename(&partial, &directory).map_err(io_error("finish", &directory))?;
        drop(layers);
        drop(lease);
        self.get(digest).ok_or(StoreError::Unpack(0))
    }

    /// Removes trees of any owner: files of subordinate ids can only be removed where the ids are mapped.
    pub(crate) fn remove(&self, trees: &[&Path]) -> Result<(), StoreError> {
        let args = trees
            .iter()
            .filter(|tree| tree.symlink_metadata().is_ok())
            .map(|tree| tree.display().to_string());
        let args: Vec<String> = ["remove".to_owned()].into_iter().chain(args).collect();
        if args.len() == 1 { Ok(()) } else { in_pod(args, self.mapping) }
    }

    fn download(&self, manifest: &ImageManifest, repository: &Repository<'_>) -> Result<Layers, StoreError> {
        let mut layers = Layers::default();
        for (number, layer) in manifest.layers().iter().enumerate() {
            let path = self.temporary.join(format!("layer-{}-{number}", std::process::id()));
            layers.files.push(path.clone());
            download(repository, layer, &path)?;
        }
        Ok(layers)
    }

    fn unpack(&self, layers: &Layers, rootfs: &Path) -> Result<(), StoreError> {
        let files = layers.files.iter().map(|file| file.display().to_string());
        let args = ["unpack".to_owned(), rootfs.display().to_string()].into_iter().chain(files);
        in_pod(args.collect(), self.mapping)
    }

    fn directory(&self, digest: &str) -> PathBuf {
        let owners = match self.mapping {
            Mapping::Subordinate(_) => "",
            Mapping::RootOnly => ".root-only",
            Mapping::Unmapped => ".unmapped",
        };
        self.images.join(format!("{}{owners}", digest.replace(':', "-")))
    }
}

/// Downloaded layers; the files are removed when they are no longer needed.
#[derive(Debug, Default)]
struct Layers {
    files: Vec<PathBuf>,
}

impl Drop for Layers {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

/// Runs one of our own hidden commands with the ids of a job.
fn in_pod(args: Vec<String>, mapping: Mapping) -> Result<(), StoreError> {
    let spec = PodSpec {
        hostname: "images".to_owned(),
        umask: 0o022,
        root: RootSpec::Host,
        command: PodCommand {
            program: PathBuf::from("/proc/self/exe"),
            args,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            stdin: None,
            output_owner: 0,
            entry: None,
        },
    };
    match driver::run(&spec, mapping).map_err(StoreError::Pod)?.code {
        0 => Ok(()),
        code => Err(StoreError::Unpack(code)),
    }
}

fn download(repository: &Repository<'_>, descriptor: &Descriptor, path: &Path) -> Result<(), StoreError> {
    let mut blob = repository.blob(descriptor)?;
    let mut file = File::create(path).map_err(io_error("make", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = blob.read(&mut buffer).map_err(|source| interrupted(repository, descriptor, source))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(io_error("write", path))?;
    }
    check_digest(&digest_text(hash.finalize().as_slice()), descriptor)
}

fn read_all(repository: &Repository<'_>, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    repository
        .blob(descriptor)?
        .read_to_end(&mut bytes)
        .map_err(|source| interrupted(repository, descriptor, source))?;
    check_digest(&sha256(&bytes), descriptor)?;
    Ok(bytes)
}

fn interrupted(repository: &Repository<'_>, descriptor: &Descriptor, source: io::Error) -> StoreError {
    RegistryError::Interrupted { url: repository.blob_url(descriptor), source }.into()
}

fn check_digest(found: &str, descriptor: &Descriptor) -> Result<(), StoreError> {
    let wanted: &str = descriptor.digest().as_ref();
    if found == wanted { Ok(()) } else { Err(RegistryError::Corrupt(wanted.to_owned()).into()) }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
