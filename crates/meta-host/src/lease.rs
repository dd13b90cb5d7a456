//! One lock for several processes on several hosts that share a directory (contracts, section 7).
//!
//! link(2) is atomic on network file systems too, and unlike flock(2) it says who holds the lock. A holder that died
//! leaves the file behind; it is dead when it was not renewed for [`EXPIRY_S`], or at once when its process is gone and
//! we are on its host.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::files::{create_synced, remove_abandoned, temporary_beside, write_hint};
use crate::start_time::start_time;
use crate::{Failure, clock, exit};

/// Seconds after which a lease that was not renewed is dead.
pub const EXPIRY_S: u64 = 300;

/// Seconds after which a renewal is worth a write.
const RENEWAL_S: u64 = 30;

const RETRY: Duration = Duration::from_millis(100);

/// A held lock. Dropping it releases it; whoever holds it for minutes calls [`Lease::renew`] now and then.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    holder: Holder,
}

/// Who holds a lease: the one line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The node name of uname(2).
    pub host: String,
    pub pid: u32,
    /// Start time of the process in clock ticks since boot: a pid alone may be used again.
    pub started: u64,
    /// Unix seconds.
    pub renewed: u64,
}

impl Lease {
    /// Takes the lock at `path`, waiting up to `wait` for a living holder to release it.
    ///
    /// # Errors
    /// [`LeaseError::Held`] with the holder when the wait is over.
    pub fn acquire(path: &Path, wait: Duration) -> Result<Self, LeaseError> {
        let io_error = |source| LeaseError::Io { path: path.to_owned(), source };
        let deadline = Instant::now() + wait;
        loop {
            let holder = Holder::this_process();
            if link_holder(path, &holder).map_err(io_error)? {
                remove_abandoned(path);
                return Ok(Self { path: path.to_owned(), holder });
            }
            match read_holder(path).map_err(io_error)? {
                // Released since we tried.
                None if Instant::now() < deadline + RETRY => {}
                None => {
                    let text = "something is in its place that cannot be read, such as a symbolic link that leads nowhere";
                    return Err(io_error(io::Error::other(text)));
                }
                Some(other) if other.is_dead(&holder.host, clock::now()) => {
                    if remove_dead(path, &holder).map_err(io_error)? {
                        continue;
                    }
                }
                Some(other) if Instant::now() >= deadline => {
                    return Err(LeaseError::Held { path: path.to_owned(), holder: other });
                }
                Some(_) => {}
            }
            thread::sleep(RETRY);
        }
    }

    /// Says that we are still there. To be called more often than every [`EXPIRY_S`] seconds, and before each step that
    /// the lock protects: it costs a read, and seldom a write.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] if another process has taken the lock, which it may after the expiry. The caller must stop
    /// what the lock protects.
    pub fn renew(&mut self) -> Result<(), LeaseError> {
        let io_error = |source| LeaseError::Io { path: self.path.clone(), source };
        if read_holder(&self.path).map_err(io_error)?.as_ref() != Some(&self.holder) {
            return Err(LeaseError::Lost { path: self.path.clone() });
        }
        let now = clock::now();
        if now.saturating_sub(self.holder.renewed) < RENEWAL_S {
            return Ok(());
        }
        self.write_renewed(now)
    }

    /// Like [`Lease::renew`], before a step of up to so many seconds in which nobody can renew it.
    ///
    /// # Errors
    /// [`LeaseError::Lost`], as there.
    pub fn renew_ahead(&mut self, seconds: u64) -> Result<(), LeaseError> {
        self.renew()?;
        self.write_renewed(clock::now() + seconds)
    }

    fn write_renewed(&mut self, now: u64) -> Result<(), LeaseError> {
        let io_error = |source| LeaseError::Io { path: self.path.clone(), source };
        let renewed = Holder { renewed: now, ..self.holder.clone() };
        let temporary = temporary_beside(&self.path);
        create_synced(&temporary, &renewed.to_line()).map_err(io_error)?;
        if let Err(source) = fs::rename(&temporary, &self.path) {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
            return Err(io_error(source));
        }
        self.holder = renewed;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A lease that cannot be removed dies with this process; one that is no longer ours is left alone.
        if matches!(read_holder(&self.path), Ok(Some(holder)) if holder == self.holder) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Holder {
    fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid,
            started: start_time(pid).unwrap_or(0),
            renewed: clock::now(),
        }
    }

    /// Whether the lease can be taken over. `host` is ours, `now` is in Unix seconds.
    fn is_dead(&self, host: &str, now: u64) -> bool {
        now.saturating_sub(self.renewed) > EXPIRY_S
            || (self.host == host && start_time(self.pid) != Some(self.started))
    }

    fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a struct of strings and numbers has a JSON form");
        line.push(b'\n');
        line
    }
}

/// Why a lease is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("another process works on this: pid {} on `{}` holds `{}`", holder.pid, holder.host, path.display())]
    Held { path: PathBuf, holder: Holder },
    #[error("another process has taken `{}` from us, because it was not renewed in time", path.display())]
    Lost { path: PathBuf },
    #[error("cannot use the lock `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Failure for LeaseError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Held { .. } | Self::Lost { .. } => exit::UNEXPECTED,
            Self::Io { .. } => exit::CONFIGURATION,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Held { holder, .. } => Some(format!(
                "wait for it to end; if `{}` is down, the lock is free {EXPIRY_S} s after its last renewal",
                holder.host
            )),
            Self::Lost { .. } => Some("run the command again".to_owned()),
            Self::Io { path, source } => write_hint(source, path.parent().unwrap_or(path)),
        }
    }
}

/// Makes the file at `path` unless there is one. True if it is ours now.
fn link_holder(path: &Path, holder: &Holder) -> io::Result<bool> {
    let temporary = temporary_beside(path);
    create_synced(&temporary, &holder.to_line())?;
    let linked = fs::hard_link(&temporary, path);
    // NFS may report a failure for a link that was made: its answer was lost and the repeated request found the file.
    let links = fs::metadata(&temporary).map(|meta| meta.nlink());
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => Ok(true),
        Err(_) if links? == 2 => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The holder, or None if there is no file. A file that is no lease of ours counts as last renewed when it was written.
fn read_holder(path: &Path) -> io::Result<Option<Holder>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Ok(holder) = serde_json::from_str(&text) {
        return Ok(Some(holder));
    }
    let renewed = fs::metadata(path)?.mtime();
    Ok(Some(Holder { host: String::new(), pid: 0, started: 0, renewed: u64::try_from(renewed).unwrap_or(0) }))
}

/// Removes a dead lease. False if another process is doing so.
///
/// Between the look at a dead lease and its removal another process may have removed it and taken the lock itself. So the
/// removal has a lock of its own, and the lease is looked at again under it.
fn remove_dead(path: &Path, me: &Holder) -> io::Result<bool> {
    let mut breaking = path.as_os_str().to_owned();
    breaking.push(".breaking");
    let breaking = PathBuf::from(breaking);
    if !link_holder(&breaking, me)? {
        // Its holder needs microseconds: one that is dead was killed just then.
        if read_holder(&breaking)?.is_some_and(|other| other.is_dead(&me.host, clock::now())) {
            fs::remove_file(&breaking)?;
        }
        return Ok(false);
    }
    let removed = match read_holder(path) {
        Ok(Some(holder)) if holder.is_dead(&me.host, clock::now()) => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    fs::remove_file(&breaking)?;
    removed.map(|()| true)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write lease files of other holders")]
mod tests {
    use super::*;
    use std::process::Command;

    fn write_holder(path: &Path, holder: &Holder) {
        fs::write(path, holder.to_line()).unwrap();
    }

    fn elsewhere(renewed: u64) -> Holder {
        Holder { host: "another-host".to_owned(), pid: 1, started: 1, renewed }
    }

    #[test]
    fn a_lease_is_exclusive_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        let lease = Lease::acquire(&path, Duration::ZERO).unwrap();
        let refused = Lease::acquire(&path, Duration::from_millis(150)).unwrap_err();
        assert!(matches!(refused, LeaseError::Held { holder, .. } if holder == lease.holder));
        drop(lease);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a file is left");
        Lease::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn the_file_is_one_line_of_json() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        write_holder(&path, &elsewhere(1_790_000_000));
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text, "{\"host\":\"another-host\",\"pid\":1,\"started\":1,\"renewed\":1790000000}\n");
    }

    #[test]
    fn another_process_that_lives_keeps_its_lease_and_a_dead_one_loses_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let holder =
            Holder { pid: other.id(), started: start_time(other.id()).unwrap(), ..Holder::this_process() };
        write_holder(&path, &holder);
        assert!(matches!(Lease::acquire(&path, Duration::ZERO), Err(LeaseError::Held { .. })));
        other.kill().unwrap();
        other.wait().unwrap();
        Lease::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_link_that_leads_nowhere_ends_the_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        std::os::unix::fs::symlink(dir.path().join("nothing"), &path).unwrap();
        let refused = Lease::acquire(&path, Duration::from_millis(200)).unwrap_err();
        assert!(matches!(refused, LeaseError::Io { .. }), "{refused}");
    }

    #[test]
    fn a_pid_that_was_used_again_is_not_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        let me = Holder::this_process();
        write_holder(&path, &Holder { started: me.started + 1, ..me });
        Lease::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lease_of_another_host_lives_until_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        write_holder(&path, &elsewhere(clock::now() - EXPIRY_S + 10));
        assert!(matches!(Lease::acquire(&path, Duration::ZERO), Err(LeaseError::Held { .. })));
        write_holder(&path, &elsewhere(clock::now() - EXPIRY_S - 10));
        Lease::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_killed_remover_does_not_block_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        write_holder(&path, &elsewhere(0));
        write_holder(&dir.path().join("name.lease.breaking"), &elsewhere(0));
        Lease::acquire(&path, Duration::ZERO).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a file is left");
    }

    #[test]
    fn renewal_is_written_and_notices_a_loss() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        let mut lease = Lease::acquire(&path, Duration::ZERO).unwrap();
        lease.holder.renewed -= 100;
        write_holder(&path, &lease.holder);
        lease.renew().unwrap();
        assert!(read_holder(&path).unwrap().unwrap().renewed >= clock::now() - 1);
        write_holder(&path, &elsewhere(clock::now()));
        assert!(matches!(lease.renew(), Err(LeaseError::Lost { .. })));
        drop(lease);
        assert!(path.exists(), "the lease of another holder was removed");
    }

    #[test]
    fn a_step_that_takes_longer_than_the_expiry_keeps_the_lease() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        let mut lease = Lease::acquire(&path, Duration::ZERO).unwrap();
        lease.renew_ahead(1000).unwrap();
        let holder = read_holder(&path).unwrap().unwrap();
        assert!(!holder.is_dead("another-host", clock::now() + 1000 + EXPIRY_S - 10));
        assert!(holder.is_dead("another-host", clock::now() + 1000 + EXPIRY_S + 10));
        lease.renew().unwrap();
        assert_eq!(read_holder(&path).unwrap(), Some(holder));
    }

    #[test]
    fn many_threads_hold_a_dead_lease_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name.lease");
        write_holder(&path, &elsewhere(0));
        let inside = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let lease = Lease::acquire(&path, Duration::from_secs(60)).unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    thread::sleep(Duration::from_millis(5));
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(lease);
                });
            }
        });
    }
}
