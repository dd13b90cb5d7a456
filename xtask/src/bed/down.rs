//! `bed down`: ends the bed.

use super::state;
use crate::failure::{During, Failure, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(super) fn run() -> Result<ExitCode> {
    let _lock = state::lock()?;
    if stop()? {
        eprintln!("bed: ended");
    } else {
        eprintln!("bed: it does not run");
    }
    Ok(ExitCode::SUCCESS)
}

/// Kills PID 1 of the bed; the kernel ends all that is below it and unmounts. Whether there was one.
pub(super) fn stop() -> Result<bool> {
    let Some(holder) = state::running() else { return Ok(false) };
    kill(Pid::from_raw(holder.pid), Signal::SIGKILL).during(|| format!("kill process {}", holder.pid))?;
    let began = Instant::now();
    // PID 1 is gone only after all others of its namespace.
    while holder.is_alive() {
        if began.elapsed() > Duration::from_secs(20) {
            return Err(Failure::new(format!("process {} does not end", holder.pid)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    state::forget()?;
    Ok(true)
}
