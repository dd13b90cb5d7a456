//! Unpacks the layers of an image, inside the user namespace of a pod, so that owners survive where ids are mapped.
//!
//! The process changes its root to the new file system first: links of the image then lead where they lead in the image,
//! and nothing can be written outside.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chroot, lchown};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use nix::errno::Errno;
use ruzstd::decoding::StreamingDecoder;
use tar::{Archive, Entry, EntryType};
use thiserror::Error;

/// Why a layer can't be unpacked.
#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    #[error("cannot open layer `{path}`")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot enter `{path}`")]
    Enter { path: PathBuf, source: io::Error },
    #[error("cannot read layer {number}")]
    Layer { number: usize, source: io::Error },
    #[error("cannot unpack `{path}` of layer {number}")]
    Entry { path: PathBuf, number: usize, source: io::Error },
}

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks `layers`, lowest first, into the empty directory `rootfs`, and makes that this process's root.
pub(crate) fn unpack(layers: &[PathBuf], rootfs: &Path) -> Result<(), UnpackError> {
    let mut files = Vec::new();
    for path in layers {
        files.push(File::open(path).map_err(|source| UnpackError::Open { path: path.clone(), source })?);
    }
    let enter = |source| UnpackError::Enter { path: rootfs.to_owned(), source };
    chroot(rootfs).map_err(enter)?;
    std::env::set_current_dir("/").map_err(enter)?;
    for (index, file) in files.into_iter().enumerate() {
        unpack_layer(file, index + 1)?;
    }
    Ok(())
}

fn unpack_layer(file: File, number: usize) -> Result<(), UnpackError> {
    let reading = |source| UnpackError::Layer { number, source };
    let mut archive = Archive::new(decompressed(file).map_err(reading)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(false);
    // Directories get their modes last: one that is not writable must still be filled.
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(reading)? {
        let mut entry = entry.map_err(reading)?;
        let path = entry.path().map_err(reading)?.into_owned();
        let target = absolute(&path);
        unpack_entry(&mut entry, &target, &mut directories).map_err(|source| UnpackError::Entry {
            path: target,
            number,
            source,
        })?;
    }
    for (path, mode) in directories.into_iter().rev() {
        // A later entry of the same layer may have replaced it.
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
    }
    Ok(())
}

fn unpack_entry(
    entry: &mut Entry<'_, Box<dyn Read>>,
    target: &Path,
    directories: &mut Vec<(PathBuf, u32)>,
) -> io::Result<()> {
    let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parent = target.parent().unwrap_or(Path::new("/"));
    if name == OPAQUE {
        return empty(parent);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        return remove(&parent.join(hidden));
    }
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader | EntryType::Block | EntryType::Char) {
        // Device nodes cannot be made in a user namespace; Apptainer brings its own /dev.
        return Ok(());
    }
    if target == Path::new("/") {
        return Ok(());
    }
    fs::create_dir_all(parent)?;
    if kind == EntryType::Directory {
        // A link to a directory stays a link, as with every other unpacker: /bin of a merged-/usr image.
        if !target.is_dir() {
            remove(target)?;
        }
        directories.push((target.to_owned(), entry.header().mode()? & 0o7777));
        fs::create_dir_all(target)?;
        return own(target, entry);
    }
    remove(target)?;
    if kind == EntryType::Link {
        let source = entry.link_name()?.ok_or_else(|| io::Error::other("a hard link to nothing"))?;
        return fs::hard_link(absolute(&source), target);
    }
    if kind == EntryType::Fifo {
        return Ok(());
    }
    entry.unpack(target)?;
    own(target, entry)?;
    // A change of owner takes the set-user-id bits off (chown(2)).
    let mode = entry.header().mode()?;
    if kind.is_file() && mode & 0o6000 != 0 {
        fs::set_permissions(target, fs::Permissions::from_mode(mode & 0o7777))?;
    }
    Ok(())
}

/// Gives `path` to its owner in the image. Ids that the pod does not map (all but root's at level B) become root's.
fn own(path: &Path, entry: &Entry<'_, Box<dyn Read>>) -> io::Result<()> {
    let id = |number: u64| u32::try_from(number).ok();
    match lchown(path, id(entry.header().uid()?), id(entry.header().gid()?)) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        result => result,
    }
}

/// Removes whatever is at `path`; nothing there is fine.
fn remove(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// An opaque directory hides everything that lower layers put into it.
fn empty(directory: &Path) -> io::Result<()> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.into_iter().try_for_each(|entry| remove(&entry?.path())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The entry's path below `/`. `..` cannot leave a changed root, and is dropped.
fn absolute(path: &Path) -> PathBuf {
    let normal = path.components().filter(|part| matches!(part, Component::Normal(_)));
    Path::new("/").join(normal.collect::<PathBuf>())
}

/// Looks at the first bytes, not at the media type: registries hold layers of every kind under every name.
fn decompressed(file: File) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(256 * 1024, file);
    let start = io::BufRead::fill_buf(&mut file)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(file)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(StreamingDecoder::new(file).map_err(io::Error::other)?));
    }
    Ok(Box::new(file))
}
