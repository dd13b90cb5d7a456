//! Unpacks a zip archive into the current directory.

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use zip::ZipArchive;

use super::archive::owner_of;
use crate::calendar;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Unpacks, replacing files that are there. Modes, times and, where allowed, owners are those of the archive; a directory gets its own after
/// all that goes into it.
pub(super) fn unpack(path: &Path, directory: &Path) -> io::Result<()> {
    let mut archive = ZipArchive::new(open(path)?).map_err(io::Error::other)?;
    let mut done: Vec<(PathBuf, Option<u32>, Option<u64>)> = Vec::new();
    let mut owners = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(io::Error::other)?;
        let name =
            entry.enclosed_name().ok_or_else(|| io::Error::other("a path leads out of the directory"))?;
        let place = directory.join(name);
        let time = entry.last_modified().map(|at| {
            let date = (u64::from(at.year()), at.month(), at.day(), at.hour(), at.minute(), at.second());
            calendar::seconds(date)
        });
        let mode = entry.unix_mode().map(|mode| mode & 0o7777);
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent)?;
        }
        owners.extend(owner_of(&entry).map(|owner| (place.clone(), owner)));
        if entry.is_dir() {
            std::fs::create_dir_all(&place)?;
            done.push((place, mode, time));
            continue;
        }
        remove_if_there(&place)?;
        if entry.is_symlink() {
            let mut target = String::new();
            entry.read_to_string(&mut target)?;
            symlink(target, &place)?;
            done.push((place, None, time));
        } else {
            io::copy(&mut entry, &mut File::create(&place)?)?;
            done.push((place, mode, time));
        }
    }
    for (place, mode, time) in done.iter().rev() {
        if let Some(mode) = mode {
            std::fs::set_permissions(place, Permissions::from_mode(*mode))?;
        }
        if let Some(seconds) = time {
            set_time(place, *seconds)?;
        }
    }
    for (place, (uid, gid)) in owners {
        // Only root may, and not to every id: then files keep the owner that they were made with, as with the real program.
        let _ = lchown(&place, Some(uid), Some(gid));
    }
    Ok(())
}

/// Opens what is a zip archive. The other kinds that the real program knows are refused by name.
fn open(path: &Path) -> io::Result<File> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic)?;
    if magic == ZSTD_MAGIC || magic.starts_with(&GZIP_MAGIC) {
        return Err(io::Error::other("the gitlab-runner stand-in lacks all archives but zip"));
    }
    File::open(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let at = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::super::archive::Format;
    use super::super::files::{Selection, enumerate_in};
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let script = from.path().join("d/run.sh");
        std::fs::create_dir(from.path().join("d")).unwrap();
        File::create(&script).unwrap().write_all(b"#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o750)).unwrap();
        set_time(&script, 1_709_164_800).unwrap();
        symlink("run.sh", from.path().join("d/link")).unwrap();
        let selection =
            Selection { paths: vec!["d".into()], excludes: vec![], untracked: false, verbose: false };
        let files = enumerate_in(from.path(), &selection).unwrap();
        let packed = to.path().join("a.zip");
        Format::Zip.pack(&files, "", &mut File::create(&packed).unwrap()).unwrap();

        unpack(&packed, to.path()).unwrap();
        unpack(&packed, to.path()).unwrap();
        let out = to.path().join("d/run.sh");
        let metadata = out.metadata().unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "#!/bin/sh\n");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o750);
        let modified = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(modified.as_secs(), 1_709_164_800);
        assert_eq!(std::fs::read_link(to.path().join("d/link")).unwrap(), Path::new("run.sh"));
        let mut archive = ZipArchive::new(File::open(&packed).unwrap()).unwrap();
        assert_eq!(owner_of(&archive.by_name("d/run.sh").unwrap()), Some((metadata.uid(), metadata.gid())));
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        File::create(&path).unwrap().write_all(&[0x1f, 0x8b, 8, 0]).unwrap();
        assert!(unpack(&path, folder.path()).unwrap_err().to_string().contains("lacks"));
    }
}
