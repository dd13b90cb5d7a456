//! Requests to stop, while somebody looks for them.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getppid;

use super::{PodError, doing};

/// Who told a process of ours to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoppedBy {
    /// gitlab-runner, our parent, which says by itself why: a cancel or a timeout. Or it has ended.
    Runner,
    /// Anybody else: the batch system at the end of the allocation.
    Other,
}

/// The signals that mean "stop" can be read here and do nothing else. When this is dropped they end the process again:
/// a download, say, has nobody to read them.
#[derive(Debug)]
pub(crate) struct StopSignals {
    file: SignalFd,
    before: SigSet,
}

impl StopSignals {
    /// Holds them back. Processes that are started meanwhile inherit that; the pod's init undoes it.
    pub(crate) fn hold() -> Result<Self, PodError> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            mask.add(signal);
        }
        let file = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(doing("read signals"))?;
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before)).map_err(doing("block signals"))?;
        Ok(Self { file, before })
    }

    /// Who asked for a stop since the last look, if anybody did.
    pub(crate) fn request(&self) -> Option<StoppedBy> {
        let signal = self.file.read_signal().ok().flatten()?;
        let is_parent = i32::try_from(signal.ssi_pid).is_ok_and(|sender| sender == getppid().as_raw());
        Some(if is_parent { StoppedBy::Runner } else { StoppedBy::Other })
    }
}

impl AsFd for StopSignals {
    /// For poll(2).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for StopSignals {
    fn drop(&mut self) {
        // It fails for numbers that are no signals only.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_held_back_only_as_long_as_somebody_looks() {
        let blocked = || {
            let mut mask = SigSet::empty();
            sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask)).unwrap();
            mask.contains(Signal::SIGTERM)
        };
        assert!(!blocked());
        let signals = StopSignals::hold().unwrap();
        assert!(blocked());
        let inner = StopSignals::hold().unwrap();
        drop(inner);
        assert!(blocked(), "the outer one still looks");
        assert_eq!(signals.request(), None);
        drop(signals);
        assert!(!blocked());
    }
}
