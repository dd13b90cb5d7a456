//! Signals that a service gets, noticed while it waits.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals since the begin.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    /// Gets a byte with each signal.
    wake: UnixStream,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The time is over.
    InTime,
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Takes the signals from now on.
    pub(crate) fn watch() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Self { stop: Arc::default(), reload: Arc::default(), wake };
        for (signal, flag) in [(SIGTERM, &signals.stop), (SIGINT, &signals.stop), (SIGHUP, &signals.reload)] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            // Behind the flag: who is woken sees it.
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Whether to end soon.
    pub(crate) fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Waits for a signal, up to `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Woken {
        let deadline = Instant::now() + patience;
        loop {
            if self.stop() {
                return Woken::Stop;
            }
            if self.reload.swap(false, Ordering::SeqCst) {
                return Woken::Reload;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::InTime;
            }
            let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
            // A signal interrupts it; the flags tell which one.
            let _ = poll(&mut fds, left.try_into().ok().as_ref());
            let _ = self.wake.read(&mut [0; 64]);
        }
    }
}
