//! A lease that is held for as long as a pull takes.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use meta_host::lease::{Lease, LeaseError};

use super::store::StoreError;
use crate::log_line;

/// How long to wait for another process that pulls the same image: a large one may take long.
const WAIT: Duration = Duration::from_secs(3600);

/// Well before the lease expires for others.
const RENEWAL: Duration = Duration::from_secs(60);

/// A held lease, which a thread renews. Released on drop.
pub(super) struct PullLease {
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), LeaseError>>>,
}

impl PullLease {
    /// Takes the lease at `path`; says so in the job log if another process has it.
    pub(super) fn acquire(path: &Path, digest: &str) -> Result<Self, StoreError> {
        let lease = match Lease::acquire(path, Duration::ZERO) {
            Err(LeaseError::Held { holder, .. }) => {
                log_line(&format!(
                    "Waiting for pid {} on {}, which pulls {digest} ...",
                    holder.pid, holder.host
                ));
                Lease::acquire(path, WAIT)
            }
            result => result,
        };
        Ok(Self::keep(lease.map_err(StoreError::Lease)?))
    }

    /// The lease, unless another process has it.
    pub(super) fn try_acquire(path: &Path) -> Option<Self> {
        Lease::acquire(path, Duration::ZERO).ok().map(Self::keep)
    }

    fn keep(mut lease: Lease) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                lease.renew()?;
            }
            Ok(())
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }

    /// Releases the lease. An error if another process took it, because we were held up for minutes: then what was made
    /// under it may be that process's, too.
    pub(super) fn release(mut self) -> Result<(), StoreError> {
        self.end().map_err(StoreError::Lease)
    }

    /// Whether another process has taken the lease.
    pub(super) fn is_lost(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    fn end(&mut self) -> Result<(), LeaseError> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}

impl Drop for PullLease {
    fn drop(&mut self) {
        // On the way out of a failure, which is the one to report.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_kept_until_it_is_released_or_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sha256-12.root-only.lease");
        let lease = PullLease::try_acquire(&path).unwrap();
        assert!(path.exists() && !lease.is_lost() && PullLease::try_acquire(&path).is_none());
        lease.release().unwrap();
        let lease = PullLease::try_acquire(&path).unwrap();
        drop(lease);
        assert!(!path.exists());
    }
}
