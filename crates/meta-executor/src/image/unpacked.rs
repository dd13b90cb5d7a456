//! One unpacked image: a directory named after the manifest's digest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meta_host::files::{FileError, read_private, write_private};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use super::census::Census;
use super::registry::sha256;
use super::store::StoredImage;
use super::touch::touch;
use crate::pod::spec::Mapping;

/// How long a count of the files is believed. Cleaners of old files pass through `/var/tmp` about once a day.
const BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// The place of an unpacked image, there or not.
///
/// ```text
/// sha256-DIGEST[.root-only]/rootfs/      the files
/// sha256-DIGEST[.root-only]/config.json  the image's configuration; its time is that of the last use
/// sha256-DIGEST[.root-only]/entry.json   [`Contents`]; its time is that of the last count
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnpackedImage {
    directory: PathBuf,
}

/// What is in an unpacked image, and when that was seen last.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    version: u32,
    pub(super) census: Census,
    /// The node's boot in which the files were counted: what was written before a crash may not be on the disk.
    boot: String,
}

/// What an unpacked image is worth.
pub(super) enum Found {
    Nothing,
    /// The files were counted not long ago.
    Good(Box<StoredImage>),
    /// They must be counted again.
    Doubtful(Box<StoredImage>, Census),
}

impl UnpackedImage {
    /// Trees with mapped owners and trees that belong to one user are different ones.
    pub(super) fn new(images: &Path, digest: &str, mapping: Mapping) -> Self {
        let owners = match mapping {
            Mapping::Subordinate(_) => "",
            Mapping::RootOnly => ROOT_ONLY,
            Mapping::Unmapped => UNMAPPED,
        };
        Self { directory: images.join(format!("{}{owners}", digest.replace(':', "-"))) }
    }

    /// All images below `images`.
    pub(super) fn all(images: &Path) -> Vec<Self> {
        let entries = fs::read_dir(images).into_iter().flatten().flatten();
        let directories = entries.map(|entry| entry.path()).filter(|path| path.join("entry.json").exists());
        directories.filter(|path| !is_unfinished(path)).map(|directory| Self { directory }).collect()
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn name(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// The same image while this process makes it.
    pub(super) fn partial(&self) -> Self {
        Self { directory: beside(&self.directory, &of_this_process(PARTIAL)) }
    }

    pub(super) fn lease(&self) -> PathBuf {
        beside(&self.directory, "lease")
    }

    pub(super) fn find(&self, boot: &str) -> Found {
        let Ok(config) = fs::read(self.directory.join("config.json")) else { return Found::Nothing };
        let Some(contents) = self.contents() else { return Found::Nothing };
        let Ok(configuration) = serde_json::from_slice::<ImageConfiguration>(&config) else {
            return Found::Nothing;
        };
        let image =
            Box::new(StoredImage { rootfs: self.rootfs(), id: sha256(&config), config: configuration });
        let counted = fs::metadata(self.directory.join("entry.json")).and_then(|found| found.modified());
        let is_fresh = counted.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < BELIEVED));
        if contents.boot == boot && is_fresh {
            Found::Good(image)
        } else {
            Found::Doubtful(image, contents.census)
        }
    }

    pub(super) fn contents(&self) -> Option<Contents> {
        serde_json::from_str(&read_private(&self.directory.join("entry.json")).ok()?).ok()
    }

    /// Writes down that the files were counted now, in this boot.
    pub(super) fn write_contents(&self, census: Census, boot: &str) -> Result<(), FileError> {
        let contents = Contents { version: 1, census, boot: boot.to_owned() };
        let text = serde_json::to_string(&contents).expect("contents are strings and numbers");
        write_private(&self.directory.join("entry.json"), text.as_bytes())
    }

    pub(super) fn write_config(&self, config: &[u8]) -> Result<(), FileError> {
        write_private(&self.directory.join("config.json"), config)
    }

    /// When the image was used last.
    pub(super) fn last_use(&self) -> SystemTime {
        let used = fs::metadata(self.directory.join("config.json")).and_then(|found| found.modified());
        used.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes that the image is used now.
    pub(super) fn touch(&self) -> io::Result<()> {
        touch(&self.directory.join("config.json"))
    }
}

const ROOT_ONLY: &str = ".root-only";
const UNMAPPED: &str = ".unmapped";

/// Whether a job with these ids can remove the unpacked image `name`, or what is left of it: files of subordinate ids only
/// those ids can remove.
pub(super) fn can_be_removed(name: &str, mapping: Mapping) -> bool {
    matches!(mapping, Mapping::Subordinate(_)) || name.ends_with(ROOT_ONLY) || name.ends_with(UNMAPPED)
}

const PARTIAL: &str = "partial";
const EVICTED: &str = "evicted";

/// `path` with a further extension. Not `Path::with_extension`, which would take `.root-only` away.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    path.with_file_name(format!("{}.{extension}", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Where the unpacked image or layout `directory` is put, so that nobody begins to use it, until it is removed.
pub(super) fn evicted(directory: &Path) -> PathBuf {
    beside(directory, &of_this_process(EVICTED))
}

/// Two processes never have a name in common, not even when one was held up until the other took its lease.
fn of_this_process(extension: &str) -> String {
    format!("{}.{extension}", std::process::id())
}

/// The name of what an unfinished directory was to be, or has been.
pub(super) fn finished_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(name) = [PARTIAL, EVICTED].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.'))
    else {
        return name.into_owned();
    };
    match name.rsplit_once('.') {
        Some((name, process)) if process.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
        _ => name.to_owned(),
    }
}

/// Whether this is what was taken out of use and not removed yet.
pub(super) fn is_evicted(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EVICTED)
}

/// Whether this is what a pull or an eviction left that did not end.
pub(super) fn is_unfinished(path: &Path) -> bool {
    is_evicted(path) || path.extension().is_some_and(|extension| extension == PARTIAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::spec::{IdRange, SubordinateIds};

    #[test]
    fn only_subordinate_ids_remove_what_is_theirs() {
        let range = IdRange { start: 100_000, count: 65_536 };
        let subordinate = Mapping::Subordinate(SubordinateIds { uid: range, gid: range });
        let all = [subordinate, Mapping::RootOnly, Mapping::Unmapped];
        for owner in all {
            let name = UnpackedImage::new(Path::new("/images"), "sha256:12", owner).name();
            for remover in all {
                let can = remover == subordinate || owner != subordinate;
                assert_eq!(can_be_removed(&name, remover), can, "{name} {remover:?}");
            }
        }
    }

    #[test]
    fn names_beside_an_image_are_its_own() {
        let images = Path::new("/images");
        let plain = UnpackedImage { directory: images.join("sha256-12") };
        let root_only = UnpackedImage::new(images, "sha256:12", Mapping::RootOnly);
        assert_eq!(root_only.name(), "sha256-12.root-only");
        assert_ne!(plain.lease(), root_only.lease());
        assert_ne!(plain.partial(), root_only.partial());
        assert!(is_unfinished(root_only.partial().directory()) && !is_unfinished(root_only.directory()));
        assert_eq!(finished_name(root_only.partial().directory()), root_only.name());
    }

    #[test]
    fn leftovers_belong_to_the_image_whose_name_they_had() {
        for (name, finished) in [
            ("sha256-12.partial", "sha256-12"),
            ("sha256-12.77.partial", "sha256-12"),
            ("sha256-12.root-only.77.partial", "sha256-12.root-only"),
            ("sha256-12.root-only.evicted", "sha256-12.root-only"),
            ("sha256-12.root-only", "sha256-12.root-only"),
        ] {
            assert_eq!(finished_name(&Path::new("/images").join(name)), finished);
        }
        let lease = beside(Path::new("/i/sha256-12.root-only"), "lease");
        assert_eq!(lease, Path::new("/i/sha256-12.root-only.lease"));
    }
}
