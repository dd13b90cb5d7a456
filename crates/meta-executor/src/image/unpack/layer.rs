//! One layer: a tar file whose entries are put over the layers below (OCI image specification, "Layer Filesystem
//! Changeset").

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::Timespec;
use tar::{Archive, Entry, EntryType};

use super::UnpackError;
use super::decompress::{ReadAhead, decompressed};
use super::tree::{Attributes, Tree};
use crate::rooted::cleaned;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS once wrote for itself.
const OTHER_MARKS: &[u8] = b".wh..wh.";

pub(super) fn unpack(file: File, tree: &mut Tree, name: &Path) -> Result<(), UnpackError> {
    let broken = |source| UnpackError::Layer { layer: name.to_owned(), source };
    let mut archive = Archive::new(decompressed(file));
    let mut unpacking = Unpacking { tree, seen: HashSet::new(), directories: Vec::new() };
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = cleaned(Path::new(OsStr::from_bytes(&entry.path_bytes())));
        let failed = |source| UnpackError::Entry { path: path.clone(), layer: name.to_owned(), source };
        let attributes = attributes(&mut entry).map_err(broken)?;
        unpacking.put(&mut entry, &path, attributes).map_err(|error| match error {
            PutError::Entry(source) => broken(source),
            PutError::Tree(source) => failed(source),
        })?;
    }
    unpacking.finish().map_err(|(path, source)| UnpackError::Entry { path, layer: name.to_owned(), source })
}

/// A layer that is being unpacked.
struct Unpacking<'a> {
    tree: &'a mut Tree,
    /// What this layer brought: an opaque directory hides what lower layers put into it, and nothing else.
    seen: HashSet<PathBuf>,
    /// Finished at the end: a directory that is not writable must still be filled, and its time must stay.
    directories: Vec<(PathBuf, Attributes)>,
}

enum PutError {
    /// The entry makes no sense, or the layer ends in it.
    Entry(io::Error),
    /// The file system refuses.
    Tree(io::Error),
}

impl Unpacking<'_> {
    fn put(
        &mut self,
        entry: &mut Entry<'_, ReadAhead>,
        path: &Path,
        attributes: Attributes,
    ) -> Result<(), PutError> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let parent = path.parent().unwrap_or(Path::new(""));
        if name == OPAQUE {
            return self.tree.empty(parent, &self.seen).map_err(PutError::Tree);
        }
        if name.starts_with(OTHER_MARKS) || parent.iter().any(|part| part.as_bytes().starts_with(OTHER_MARKS))
        {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            let hidden = OsStr::from_bytes(hidden);
            // A mark for `.` or `..` would take away more than its layer says.
            return match [".", ".."].map(OsStr::new).contains(&hidden) || hidden.is_empty() {
                true => Ok(()),
                false => self.tree.remove(&parent.join(hidden)).map_err(PutError::Tree),
            };
        }
        let kind = entry.header().entry_type();
        if path.as_os_str().is_empty() && kind != EntryType::Directory {
            return Ok(());
        }
        self.seen.insert(path.to_owned());
        match kind {
            EntryType::Directory => {
                self.directories.push((path.to_owned(), attributes));
                self.tree.make_directory(path)
            }
            EntryType::Link => {
                let existing = cleaned(Path::new(&link_target(entry)?));
                self.tree.make_hard_link(path, &existing)
            }
            EntryType::Symlink => self.tree.make_link(path, &link_target(entry)?, &attributes),
            EntryType::Fifo => self.tree.make_fifo(path, &attributes),
            // They cannot be made in a user namespace; a container has its own /dev.
            EntryType::Block | EntryType::Char | EntryType::XGlobalHeader => Ok(()),
            _ => {
                let mut text = LayerText { entry, error: None };
                let result = self.tree.make_file(path, &mut text, &attributes);
                if let Some(error) = text.error {
                    return Err(PutError::Entry(error));
                }
                result
            }
        }
        .map_err(PutError::Tree)
    }

    /// Deepest first, as they were filled after they were made.
    fn finish(self) -> Result<(), (PathBuf, io::Error)> {
        let Self { tree, directories, .. } = self;
        for (path, attributes) in directories.into_iter().rev() {
            tree.finish_directory(&path, &attributes).map_err(|error| (path, error))?;
        }
        Ok(())
    }
}

/// Reads an entry and remembers whether it was the layer that failed, and not the file that is written.
struct LayerText<'a, 'b> {
    entry: &'a mut Entry<'b, ReadAhead>,
    error: Option<io::Error>,
}

impl Read for LayerText<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.entry.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }
}

fn link_target(entry: &Entry<'_, ReadAhead>) -> Result<OsString, PutError> {
    match entry.link_name_bytes() {
        Some(target) if !target.is_empty() => Ok(OsString::from_vec(target.into_owned())),
        _ => Err(PutError::Entry(io::Error::new(io::ErrorKind::InvalidData, "a link to nothing"))),
    }
}

fn attributes(entry: &mut Entry<'_, ReadAhead>) -> io::Result<Attributes> {
    let mut mtime = Timespec { tv_sec: i64::try_from(entry.header().mtime()?).unwrap_or(0), tv_nsec: 0 };
    let mut xattrs = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let Ok(key) = extension.key() else { continue };
        if key == "mtime" {
            mtime = extension.value().ok().and_then(parse_time).unwrap_or(mtime);
        } else if let Some(name) = key.strip_prefix("SCHILY.xattr.")
            && is_kept(name)
        {
            xattrs.push((name.to_owned(), extension.value_bytes().to_owned()));
        }
    }
    let header = entry.header();
    let id =
        |number: u64| u32::try_from(number).map_err(|_| io::Error::other("an owner's id has over 32 bits"));
    Ok(Attributes {
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mode: header.mode()? & 0o7777,
        mtime,
        xattrs,
    })
}

/// Capabilities of programs and the attributes of users. Those of overlayfs would change what the job sees of its own image.
fn is_kept(xattr: &str) -> bool {
    xattr == "security.capability" || (xattr.starts_with("user.") && !xattr.starts_with("user.overlay."))
}

/// Seconds with a fraction, as pax(1) writes them.
fn parse_time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let tv_nsec = digits.parse().ok()?;
    Some(Timespec { tv_sec: seconds.parse().ok()?, tv_nsec })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_would_change_the_overlay_are_left_out() {
        for (name, kept) in [
            ("security.capability", true),
            ("user.comment", true),
            ("user.overlay.opaque", false),
            ("trusted.overlay.redirect", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
        ] {
            assert_eq!(is_kept(name), kept, "{name}");
        }
    }

    #[test]
    fn times_have_fractions() {
        let parsed = |text| parse_time(text).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(parsed("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(parsed("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(parsed("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(parsed("soon"), None);
    }
}
