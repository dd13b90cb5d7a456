//! Packs files: zip, gzip or as they are.

use std::fs::{File, Metadata};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::SystemTime;

use flate2::{Compression, GzBuilder};
use zip::extra_fields::ExtraField;
use zip::read::ZipFile;
use zip::write::FullFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::files::Files;

/// The real program keeps owners in its zip files, and gives them back where it may.
const OWNER_FIELD: u16 = 0x7875;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Zip,
    /// One gzip member per file, with its path as comment.
    Gzip,
    Raw,
}

impl Format {
    /// The error is a message.
    pub(super) fn of(name: &str) -> Result<Self, String> {
        match name {
            "" | "zip" => Ok(Self::Zip),
            "gzip" => Ok(Self::Gzip),
            "raw" => Ok(Self::Raw),
            other => Err(format!("the gitlab-runner stand-in lacks the archive format {other}")),
        }
    }

    /// The name of the file that is uploaded.
    pub(super) fn file_name(self, name: &str) -> String {
        let base = name.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        let base = if matches!(base, "" | ".") { "default" } else { base };
        match self {
            Self::Zip => format!("{base}.zip"),
            Self::Gzip => format!("{base}.gz"),
            Self::Raw => base.to_owned(),
        }
    }

    pub(super) fn pack(self, files: &Files, level: &str, out: &mut (impl Write + Seek)) -> io::Result<()> {
        match self {
            Self::Zip => zip(files, level, out),
            Self::Gzip => gzip(files, out),
            Self::Raw if files.entries.len() > 1 => Err(io::Error::other("only one file can be sent as raw")),
            Self::Raw => files.entries.keys().try_for_each(|path| {
                io::copy(&mut File::open(files.directory.join(path))?, out)?;
                Ok(())
            }),
        }
    }
}

/// `fastest` to `slowest`, as the variables for it say.
fn compression(level: &str) -> u32 {
    match level {
        "fastest" => 1,
        "fast" => 3,
        "slow" => 7,
        "slowest" => 9,
        _ => 6,
    }
}

fn zip(files: &Files, level: &str, out: &mut (impl Write + Seek)) -> io::Result<()> {
    let mut writer = ZipWriter::new(out);
    for (path, metadata) in &files.entries {
        let mut options = FullFileOptions::default()
            .unix_permissions(metadata.permissions().mode() & 0o7777)
            .last_modified_time(dos_time(metadata))
            .large_file(metadata.len() > u64::from(u32::MAX / 2));
        options.add_extra_field(OWNER_FIELD, owner(metadata), false).map_err(io::Error::other)?;
        let place = files.directory.join(path);
        if metadata.is_dir() {
            writer.add_directory(format!("{path}/"), options).map_err(io::Error::other)?;
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(&place)?;
            writer.add_symlink(path, target.to_string_lossy(), options).map_err(io::Error::other)?;
        } else if metadata.is_file() {
            let method = options
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(compression(level).into()));
            writer.start_file(path, method).map_err(io::Error::other)?;
            io::copy(&mut File::open(place)?, &mut writer)?;
        }
        // Pipes and the like are left out without a word, as by the real program.
    }
    writer.finish().map_err(io::Error::other)?;
    Ok(())
}

/// Version 1, then uid and gid, each with its length before it (Info-ZIP New Unix Extra Field).
fn owner(metadata: &Metadata) -> Vec<u8> {
    let id = |id: u32| [&[4_u8][..], &id.to_le_bytes()].concat();
    [vec![1], id(metadata.uid()), id(metadata.gid())].concat()
}

/// Reads what `owner` wrote: uid and gid. Ids of other lengths do not occur on Linux.
pub(super) fn owner_of<R: io::Read>(entry: &ZipFile<'_, R>) -> Option<(u32, u32)> {
    entry.extra_data_fields().find_map(|field| match field {
        ExtraField::Custom(field) if field.header_id == OWNER_FIELD => owner_in(&field.data),
        _ => None,
    })
}

fn owner_in(field: &[u8]) -> Option<(u32, u32)> {
    let [1, 4, a, b, c, d, 4, e, f, g, h] = *field else { return None };
    Some((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
}

fn gzip(files: &Files, out: &mut impl Write) -> io::Result<()> {
    for (path, metadata) in &files.entries {
        if !metadata.is_file() {
            return Err(io::Error::other(format!("the \"{path}\" is not a regular file")));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let header = GzBuilder::new().filename(name).comment(path.as_str()).mtime(modified(metadata) as u32);
        let mut member = header.write(&mut *out, Compression::default());
        io::copy(&mut File::open(files.directory.join(path))?, &mut member)?;
        member.finish()?;
    }
    Ok(())
}

/// Seconds since 1970.
fn modified(metadata: &Metadata) -> u64 {
    let at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// UTC, two seconds fine, nothing before 1980.
fn dos_time(metadata: &Metadata) -> DateTime {
    let (year, month, day, hour, minute, second) = crate::calendar::utc(modified(metadata));
    let year = u16::try_from(year).unwrap_or(1980);
    DateTime::from_date_and_time(year, month, day, hour, minute, second).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_other_forms_are_left_alone() {
        assert_eq!(owner_in(&[1, 4, 210, 4, 0, 0, 4, 1, 0, 0, 0]), Some((1234, 1)));
        assert_eq!(owner_in(&[1, 2, 0, 0, 2, 0, 0]), None);
        assert_eq!(owner_in(&[]), None);
    }

    #[test]
    fn uploads_are_named_after_the_artifact() {
        assert_eq!(Format::Zip.file_name("a/b"), "b.zip");
        assert_eq!(Format::Gzip.file_name(""), "default.gz");
        assert_eq!(Format::Raw.file_name("report.xml"), "report.xml");
        assert!(Format::of("zipzstd").unwrap_err().contains("lacks"));
    }
}
