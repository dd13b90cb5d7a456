//! Ctrl-C and other requests to stop, while a task waits for a program.
//!
//! The task must outlive the program: what was started for it is then ended in order.

use crate::failure::{During, Failure, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The last signal that asked us to stop, 0 before.
#[derive(Debug)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)
                .during(|| "watch for signals".to_owned())?;
        }
        Ok(Self(last))
    }

    /// Runs a program to its end, passes a signal on to it, and gives its exit code (128 + N after signal N).
    ///
    /// # Errors
    /// It can't be started, or a signal came before that.
    pub(crate) fn run(&self, command: &mut Command) -> Result<ExitCode> {
        if self.signal().is_some() {
            return Err(Failure::new("interrupted"));
        }
        let mut child =
            command.spawn().during(|| format!("start `{}`", command.get_program().to_string_lossy()))?;
        let mut told = false;
        loop {
            if let Some(status) = child.try_wait().during(|| "wait for a program".to_owned())? {
                let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            if let Some(signal) = self.signal().filter(|_| !told) {
                told = true;
                // A terminal has sent it to the program too.
                if signal != Signal::SIGINT || !std::io::stdin().is_terminal() {
                    let pid = i32::try_from(child.id()).during(|| "read the process id".to_owned())?;
                    kill(Pid::from_raw(pid), signal).during(|| "pass the signal on".to_owned())?;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As [`run`](Self::run) for a program that has to succeed and says itself why it does not.
    pub(crate) fn require(&self, command: &mut Command) -> Result<()> {
        let code = self.run(command)?;
        if code == ExitCode::SUCCESS && self.signal().is_none() {
            return Ok(());
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        Err(Failure::new(format!("`{program} {}` did not succeed; its messages are above", words.join(" "))))
    }

    fn signal(&self) -> Option<Signal> {
        let number = i32::try_from(self.0.load(Ordering::Relaxed)).ok()?;
        Signal::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupt;
    use std::process::{Command, ExitCode};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn exit_codes_are_passed_on() {
        let interrupt = Interrupt::watch().unwrap();
        assert_eq!(interrupt.run(&mut shell("exit 7")).unwrap(), ExitCode::from(7));
        assert_eq!(interrupt.run(&mut shell("kill -KILL $$")).unwrap(), ExitCode::from(137));
        assert!(interrupt.require(&mut shell("exit 7")).is_err());
        assert!(interrupt.require(&mut shell("exit 0")).is_ok());
    }
}
