//! What signals do to run-single: SIGQUIT finishes the job at hand, SIGINT and SIGTERM abort it, a second one or
//! thirty seconds end the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};

use crate::executor::process::signal_name;
use crate::runner_log;
use crate::scope::POLL;

const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Shared by the loop, the running job and the thread that hears the signals.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    finish: AtomicBool,
    /// The signal that aborts; 0 is none.
    abort: AtomicI32,
    done: AtomicBool,
}

impl Signals {
    /// No further job is to be taken.
    pub(crate) fn finish_wanted(&self) -> bool {
        self.finish.load(Ordering::SeqCst)
    }

    /// The running job is to be aborted: the signal's name.
    pub(crate) fn abort_wanted(&self) -> Option<String> {
        match self.abort.load(Ordering::SeqCst) {
            0 => None,
            number => Some(signal_name(number)),
        }
    }

    /// Sleeps that long, or until an abort is wanted.
    pub(crate) fn sleep(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while self.abort_wanted().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(POLL));
        }
    }

    /// The loop is over: a shutdown in progress is no longer to be forced.
    pub(super) fn done(&self) {
        self.done.store(true, Ordering::SeqCst);
    }
}

/// Starts to listen.
pub(super) fn watch() -> Arc<Signals> {
    let shared = Arc::new(Signals::default());
    let listener = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGQUIT]);
    let mut listener =
        listener.unwrap_or_else(|error| runner_log::fatal(format!("cannot listen for signals: {error}")));
    let heard = Arc::clone(&shared);
    std::thread::spawn(move || {
        for signal in listener.forever() {
            heard.finish.store(true, Ordering::SeqCst);
            if heard.abort.load(Ordering::SeqCst) != 0 {
                runner_log::fatal(format!("forced exit: {}", signal_name(signal)));
            }
            if signal == SIGQUIT {
                runner_log::warning("Requested quit, waiting for builds to finish");
                continue;
            }
            runner_log::warning(format!("Requested exit: {}", signal_name(signal)));
            heard.abort.store(signal, Ordering::SeqCst);
            force_after_timeout(&heard);
        }
    });
    shared
}

fn force_after_timeout(shared: &Arc<Signals>) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        std::thread::sleep(SHUTDOWN_TIMEOUT);
        if !shared.done.load(Ordering::SeqCst) {
            runner_log::fatal("shutdown timed out");
        }
    });
}
