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
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::reference::Reference;
use super::registry::{RegistryError, Repository, digest_text, sha256};
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
    /// `sha256:...` of the manifest.
    pub(crate) digest: String,
    pub(crate) rootfs: PathBuf,
    pub(crate) config: ImageConfiguration,
    /// `sha256:...` of the configuration, which docker calls the image's id.
    pub(crate) id: String,
}

/// What an image name meant when it was last asked for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// The complete name, for people who look into the file.
    pub(crate) name: String,
    pub(crate) platform: String,
    /// Of the manifest.
    pub(crate) digest: String,
    /// What a HEAD request for the name answered: the index's digest for an image of several platforms.
    pub(crate) remote_digest: Option<String>,
    /// Whether the registry gave it without a login.
    pub(crate) public: bool,
    /// Projects whose login the registry accepted for it.
    pub(crate) projects: Vec<u64>,
}

/// Why an image is not in the store.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
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

impl Store {
    /// The image with this manifest digest, if it is here.
    pub(crate) fn get(&self, digest: &str) -> Option<StoredImage> {
        let directory = self.directory(digest);
        let text = fs::read(directory.join("config.json")).ok()?;
        let config = serde_json::from_slice(&text).ok()?;
        Some(StoredImage {
            digest: digest.to_owned(),
            rootfs: directory.join("rootfs"),
            config,
            id: sha256(&text),
        })
    }

    /// What `name` meant for `platform` when it was last asked for.
    pub(crate) fn record(&self, name: &Reference, platform: &str) -> Option<NameRecord> {
        let record: NameRecord =
            serde_json::from_str(&read_private(&self.name_file(name, platform)).ok()?).ok()?;
        (record.name == name.to_string() && record.platform == platform).then_some(record)
    }

    /// Remembers what a name means.
    pub(crate) fn remember(&self, name: &Reference, record: &NameRecord) -> Result<(), StoreError> {
        make_private_dir(&self.images.join("names")).map_err(StoreError::Prepare)?;
        let text = serde_json::to_string_pretty(record).expect("a record has only strings and numbers");
        write_private(&self.name_file(name, &record.platform), text.as_bytes()).map_err(StoreError::Prepare)
    }

    /// Downloads and unpacks the image of `manifest`, unless another process does or has done it.
    pub(crate) fn add(
        &self,
        digest: &str,
        manifest: &ImageManifest,
        repository: &Repository<'_>,
    ) -> Result<StoredImage, StoreError> {
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
        let config = read_all(repository.blob(manifest.config())?, manifest.config())?;
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
            download(repository.blob(layer)?, layer, &path)?;
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
        };
        self.images.join(format!("{}{owners}", digest.replace(':', "-")))
    }

    fn name_file(&self, name: &Reference, platform: &str) -> PathBuf {
        let key = sha256(format!("{name} {platform}").as_bytes());
        self.images.join("names").join(format!("{}.json", key.trim_start_matches("sha256:")))
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
            entry: None,
        },
    };
    match driver::run(&spec, mapping).map_err(StoreError::Pod)?.code {
        0 => Ok(()),
        code => Err(StoreError::Unpack(code)),
    }
}

fn download(mut blob: impl Read, descriptor: &Descriptor, path: &Path) -> Result<(), StoreError> {
    let mut file = File::create(path).map_err(io_error("make", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = blob.read(&mut buffer).map_err(io_error("download to", path))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(io_error("write", path))?;
    }
    check_digest(&digest_text(hash.finalize().as_slice()), descriptor)
}

fn read_all(mut blob: impl Read, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).map_err(io_error("download", Path::new("the image's configuration")))?;
    check_digest(&sha256(&bytes), descriptor)?;
    Ok(bytes)
}

fn check_digest(found: &str, descriptor: &Descriptor) -> Result<(), StoreError> {
    let wanted: &str = descriptor.digest().as_ref();
    if found == wanted { Ok(()) } else { Err(RegistryError::Corrupt(wanted.to_owned()).into()) }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
