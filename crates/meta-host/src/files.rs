//! Files with secrets and state: private, and either the old or the new content, never half of one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use meta_core::command_line::quoted;

use crate::start_time::start_time;
use crate::{Failure, exit};

/// Reads a UTF-8 file that only its owner may access.
///
/// # Errors
/// [`FileErrorKind::OpenToOthers`] if group or others have any permission on it; the hint has the `chmod` to run.
/// See [`FileError::is_missing`] for a file that is not there.
pub fn read_private(path: &Path) -> Result<String, FileError> {
    let read = || {
        let mut file = File::open(path).map_err(FileErrorKind::Read)?;
        // The mode of the open file, not of whatever stands at the path by now.
        let meta = file.metadata().map_err(FileErrorKind::Read)?;
        if meta.is_dir() {
            return Err(FileErrorKind::Read(io::ErrorKind::IsADirectory.into()));
        }
        let mode = meta.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FileErrorKind::OpenToOthers { mode, wanted: 0o600 });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(FileErrorKind::Read)?;
        Ok(text)
    };
    read().map_err(|kind| FileError { path: path.to_owned(), kind })
}

/// [`read_private`] where it is no error that there is no file: `None` then.
///
/// # Errors
/// As [`read_private`].
pub fn read_private_if_any(path: &Path) -> Result<Option<String>, FileError> {
    match read_private(path) {
        Err(error) if error.is_missing() => Ok(None),
        read => read.map(Some),
    }
}

/// Replaces the file at `path` by one with these bytes and mode 0600.
///
/// The bytes go to a temporary file in the same directory, which is synced, renamed over `path`, and made durable by
/// syncing the directory: after a crash there is the old file or the new one. A symbolic link at `path` is replaced.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, 0o600)
}

/// Like [`write_private`], for what a crash of the machine makes worthless: nothing waits for the disk.
pub fn write_transient(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    rename_into(path, 0o600, |temporary| create(temporary, bytes).map(drop))
}

/// Like [`write_private`], with a mode that lets everybody read the file: for what has no secrets and is read by other users.
pub fn write_readable(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, 0o644)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    rename_into(path, mode, |temporary| create_synced(temporary, bytes))?;
    sync_dir(directory_of(path)).map_err(writing(path))
}

/// Puts at `path` what `create` makes beside it.
fn rename_into(
    path: &Path,
    mode: u32,
    create: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let result = create(&temporary)
        .and_then(|()| fs::set_permissions(&temporary, Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The temporary file may not exist; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(writing(path))
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    |source| FileError { path, kind: FileErrorKind::Write(source) }
}

/// Makes a directory and its missing parents with mode 0700. One that exists is left as it is.
pub fn make_dir(path: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| FileError { path: path.to_owned(), kind: FileErrorKind::MakeDirectory(error) })
}

/// [`make_dir`] for files that others could put theirs in the place of.
///
/// # Errors
/// A directory that exists is left as it is, but refused if group or others may write to it, or if it or a link at its path
/// is another user's.
pub fn make_private_dir(path: &Path) -> Result<(), FileError> {
    make_dir(path)?;
    refuse_owner(path)?;
    refuse_mode(path, 0o022)
}

/// [`make_private_dir`] for the data directory: group and others may not even look into it.
///
/// # Errors
/// As [`make_private_dir`], and [`require_data_dir`].
pub fn make_data_dir(path: &Path) -> Result<(), FileError> {
    make_private_dir(path)?;
    require_data_dir(path)
}

/// Refuses a data directory that group or others may enter, read or write.
///
/// # Errors
/// [`FileErrorKind::OpenToOthers`]; the hint has the `chmod` to run.
pub fn require_data_dir(path: &Path) -> Result<(), FileError> {
    refuse_mode(path, 0o077)
}

fn refuse_mode(path: &Path, refused: u32) -> Result<(), FileError> {
    let kind = match fs::metadata(path).map(|meta| meta.permissions().mode() & 0o7777) {
        Ok(mode) if mode & refused == 0 => return Ok(()),
        Ok(mode) => FileErrorKind::OpenToOthers { mode, wanted: 0o700 },
        Err(error) => FileErrorKind::Read(error),
    };
    Err(FileError { path: path.to_owned(), kind })
}

/// Refuses what another user made. Root's links are the system's own.
fn refuse_owner(path: &Path) -> Result<(), FileError> {
    let failed = |kind| FileError { path: path.to_owned(), kind };
    let own = rustix::process::geteuid().as_raw();
    let link = fs::symlink_metadata(path).map_err(|error| failed(FileErrorKind::Read(error)))?;
    let found = fs::metadata(path).map_err(|error| failed(FileErrorKind::Read(error)))?;
    let is_foreign_link = link.is_symlink() && ![own, 0].contains(&link.uid());
    match [(is_foreign_link, link.uid()), (found.uid() != own, found.uid())].into_iter().find(|case| case.0) {
        Some((_, uid)) => Err(failed(FileErrorKind::OfOther { uid })),
        None => Ok(()),
    }
}

/// Removes what a [`write_private`] of a process that was killed has left beside `path`. Other hosts' files stay: who wrote
/// them may be alive. Nothing depends on the result, so errors are ignored.
pub fn remove_abandoned(path: &Path) {
    let Ok(entries) = fs::read_dir(directory_of(path)) else { return };
    let prefix = temporary_prefix(path);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let writer = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".tmp"))
            .and_then(|rest| rest.rsplit_once('-')?.0.split_once('-'))
            .and_then(|(pid, started)| Some((pid.parse().ok()?, started.parse::<u64>().ok()?)));
        if writer.is_some_and(|(pid, started)| start_time(pid) != Some(started)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What went wrong with one file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {} `{}`", kind.operation(), path.display())]
pub struct FileError {
    pub path: PathBuf,
    #[source]
    pub kind: FileErrorKind,
}

/// Why a [`FileError`] happened.
#[derive(Debug, thiserror::Error)]
pub enum FileErrorKind {
    #[error("{0}")]
    Read(io::Error),
    #[error("{0}")]
    Write(io::Error),
    #[error("{0}")]
    MakeDirectory(io::Error),
    #[error("group or others may access it (mode {mode:03o})")]
    OpenToOthers { mode: u32, wanted: u32 },
    #[error("it belongs to another user (uid {uid})")]
    OfOther { uid: u32 },
}

impl FileError {
    /// Whether there is no such file, which is often no error.
    pub fn is_missing(&self) -> bool {
        matches!(&self.kind, FileErrorKind::Read(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl FileErrorKind {
    fn operation(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::MakeDirectory(_) => "make directory",
            Self::OpenToOthers { .. } | Self::OfOther { .. } => "use",
        }
    }
}

impl Failure for FileError {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }

    fn hint(&self) -> Option<String> {
        match &self.kind {
            FileErrorKind::OpenToOthers { wanted, .. } => {
                Some(format!("run `chmod {wanted:o} {}`", quoted(&self.path.to_string_lossy())))
            }
            FileErrorKind::OfOther { .. } => {
                Some("name a directory that is this account's own, or one that is not there yet".to_owned())
            }
            FileErrorKind::Read(error) if error.kind() == io::ErrorKind::InvalidData => {
                Some("save it as UTF-8".to_owned())
            }
            FileErrorKind::Read(_) => None,
            FileErrorKind::Write(error) | FileErrorKind::MakeDirectory(error) => {
                write_hint(error, directory_of(&self.path))
            }
        }
    }
}

/// What to do where nothing can be written in a directory.
pub(crate) fn write_hint(error: &io::Error, directory: &Path) -> Option<String> {
    let directory = directory.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some(format!("make room in `{directory}`: `df -h` and `quota` say what is full"))
        }
        io::ErrorKind::PermissionDenied => {
            Some(format!("let this account write in `{directory}`, or name another place"))
        }
        io::ErrorKind::ReadOnlyFilesystem => Some(format!(
            "`{directory}` is on a read-only file system: mount it for writing, or name another place"
        )),
        io::ErrorKind::StaleNetworkFileHandle => {
            Some(format!("the file system of `{directory}` was mounted anew: begin again in a new shell"))
        }
        _ => None,
    }
}

/// A name in the same directory that no other process or thread uses.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static STARTED: OnceLock<u64> = OnceLock::new();
    let (number, pid) = (NEXT.fetch_add(1, Ordering::Relaxed), std::process::id());
    // In a container each run may have the same pid. What a killed one has left is not in the way of the next.
    let started = STARTED.get_or_init(|| start_time(pid).unwrap_or(0));
    path.with_file_name(format!("{}{pid}-{started}-{number}.tmp", temporary_prefix(path)))
}

/// What the names of temporary files beside `path` begin with on this host. Behind it stand the writer's pid, its start
/// time and a number.
fn temporary_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{}-", rustix::system::uname().nodename().to_string_lossy())
}

/// Creates a file of mode 0600 that must not exist yet, and syncs it.
pub(crate) fn create_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path, bytes)?.sync_all()
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some network file systems cannot sync directories and say EINVAL.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_written_is_private_and_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.toml");
        write_private(&path, b"first").unwrap();
        for write in [write_private, write_transient] {
            set_mode(&path, 0o644);
            write(&path, b"second").unwrap();
            assert_eq!(mode(&path), 0o600);
            assert_eq!(read_private(&path).unwrap(), "second");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file is left");
        }
    }

    #[test]
    fn what_cannot_be_written_says_where_and_what_to_do() {
        let hint = |kind: io::ErrorKind| {
            let path = PathBuf::from("/data/x.json");
            FileError { path, kind: FileErrorKind::Write(kind.into()) }.hint().unwrap_or_default()
        };
        assert_eq!(
            hint(io::ErrorKind::StorageFull),
            "make room in `/data`: `df -h` and `quota` say what is full"
        );
        assert!(hint(io::ErrorKind::PermissionDenied).starts_with("let this account write in `/data`"));
        assert!(hint(io::ErrorKind::ReadOnlyFilesystem).contains("read-only"));
        assert!(hint(io::ErrorKind::StaleNetworkFileHandle).contains("mounted anew"));
        assert_eq!(hint(io::ErrorKind::NotFound), "");
    }

    #[test]
    fn a_readable_file_is_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figures.prom");
        write_readable(&path, b"x 1").unwrap();
        assert_eq!(mode(&path), 0o644);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.toml");
        fs::create_dir(&path).unwrap();
        let error = write_private(&path, b"new").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file is left");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_chmod_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's open.toml");
        write_private(&path, b"secret").unwrap();
        set_mode(&path, 0o640);
        let error = read_private(&path).unwrap_err();
        let path = path.display();
        let quoted = path.to_string().replace('\'', r"'\''");
        assert_eq!(
            error.report(),
            format!(
                "error: cannot use `{path}`\ncaused by: group or others may access it (mode 640)\n\
                 hint: run `chmod 600 '{quoted}'`"
            )
        );
        assert_eq!(error.exit_code(), exit::CONFIGURATION);
    }

    #[test]
    fn a_file_in_another_encoding_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latin1.toml");
        write_private(&path, b"description = \"K\xf6ln\"").unwrap();
        assert_eq!(read_private(&path).unwrap_err().hint(), Some("save it as UTF-8".to_owned()));
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_private(&dir.path().join("no")).unwrap_err().is_missing());
        assert!(!read_private(dir.path()).unwrap_err().is_missing());
        assert_eq!(read_private_if_any(&dir.path().join("no")).unwrap(), None);
        read_private_if_any(dir.path()).unwrap_err();
    }

    #[test]
    fn directories_are_made_private_and_open_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        make_private_dir(&path).unwrap();
        make_private_dir(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
        for (open, any, data) in [(0o770, false, false), (0o755, true, false), (0o700, true, true)] {
            set_mode(&path, open);
            assert_eq!((make_private_dir(&path).is_ok(), make_data_dir(&path).is_ok()), (any, data));
        }
        set_mode(&path, 0o711);
        let hint = make_data_dir(&path).unwrap_err().hint();
        assert_eq!(hint, Some(format!("run `chmod 700 {}`", path.display())));
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        // For root that is what it gives away, for everybody else what is root's.
        let given = dir.path().join("given");
        fs::create_dir(&given).unwrap();
        let foreign = if std::os::unix::fs::chown(&given, Some(65534), None).is_ok() {
            &given
        } else {
            Path::new("/usr")
        };
        let error = make_private_dir(foreign).unwrap_err();
        assert!(matches!(error.kind, FileErrorKind::OfOther { .. }), "{error:?}");
        let (path, link) = (dir.path().join("own"), dir.path().join("link"));
        make_private_dir(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        make_private_dir(&link).expect("our own link");
    }

    #[test]
    fn only_what_a_dead_process_of_this_host_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.toml");
        write_private(&path, b"state").unwrap();
        let mine = temporary_beside(&path);
        let beside = |rest: &str| dir.path().join(format!("{}{rest}", temporary_prefix(&path)));
        let dead = beside("4194304-1-0.tmp");
        // In a container the next run may have the pid of the last one.
        let of_my_pid = beside(&format!("{}-1-0.tmp", std::process::id()));
        let elsewhere = dir.path().join(".state.toml.other-4194304-1-0.tmp");
        for path in [&mine, &dead, &of_my_pid, &elsewhere] {
            create_synced(path, b"half").unwrap();
        }
        remove_abandoned(&path);
        assert!(path.exists() && mine.exists() && elsewhere.exists());
        assert!(!dead.exists() && !of_my_pid.exists());
    }
}
