//! Runs one child to its end and passes signals on to it.
//!
//! `bed exec` is three processes of ours. One stays on the host. One inside the bed is the reaper of everything that the
//! command leaves behind, so that a signal ends the whole tree and not only its top. The third becomes the command: it
//! exists because a child starts with its parent's blocked signals, and only itself can take them again without a gap.

use crate::failure::{During, Result};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::io::IsTerminal;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

/// How long a tree may take to end after SIGTERM; some of it cancels batch jobs first.
const GRACE: Duration = Duration::from_secs(20);

/// Signals that end a command.
const PASSED_ON: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// Blocks the signals that [`pass_on`] waits for. To be called before the child starts, so that none is lost.
pub(super) fn block_signals() -> Result<SigSet> {
    let signals = handled();
    signals.thread_block().during(|| "block signals".to_owned())?;
    Ok(signals)
}

/// Undoes [`block_signals`], also that of a parent.
pub(super) fn unblock_signals() -> Result<()> {
    handled().thread_unblock().during(|| "unblock signals".to_owned())
}

fn handled() -> SigSet {
    let mut signals = SigSet::from_iter(PASSED_ON);
    signals.add(Signal::SIGCHLD);
    signals
}

/// What a signal to this process is sent on to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// The child alone: it looks after its own.
    Child,
    /// The child and all that it started; what is left after a while is killed.
    Tree,
}

/// Waits for the child and gives its exit code, 128 + N after signal N.
pub(super) fn pass_on(child: &Child, signals: &SigSet, target: Target) -> Result<ExitCode> {
    let child = Pid::from_raw(i32::try_from(child.id()).during(|| "read the process id".to_owned())?);
    loop {
        match signals.wait().during(|| "wait for a signal".to_owned())? {
            Signal::SIGCHLD => {
                if let Some(code) = reap(child)? {
                    return Ok(ExitCode::from(code));
                }
            }
            // The terminal has sent it to the command too.
            Signal::SIGINT | Signal::SIGQUIT if std::io::stdin().is_terminal() => {}
            signal => match target {
                Target::Child => {
                    let _ = kill(child, signal);
                }
                Target::Tree => return end_tree(child, signal),
            },
        }
    }
}

/// Makes this process the one that inherits orphans, and has it asked to end when its parent dies.
pub(super) fn adopt_orphans() -> Result<()> {
    prctl::set_child_subreaper(true).during(|| "adopt orphans".to_owned())?;
    prctl::set_pdeathsig(Signal::SIGTERM).during(|| "follow the parent".to_owned())
}

/// Collects all ended children; the exit code if the given one is among them.
fn reap(child: Pid) -> Result<Option<u8>> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => code = Some(status as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => code = Some(128 + signal as u8),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(code),
            Ok(_) => {}
            Err(error) => return Err(error).during(|| "wait for a child".to_owned()),
        }
    }
}

fn end_tree(child: Pid, signal: Signal) -> Result<ExitCode> {
    let began = Instant::now();
    let mut code = None;
    let mut sent = signal;
    signal_all(sent);
    loop {
        code = reap(child)?.or(code);
        if descendants().is_empty() {
            return Ok(ExitCode::from(code.unwrap_or(128 + signal as u8)));
        }
        if began.elapsed() > GRACE {
            sent = Signal::SIGKILL;
            signal_all(sent);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal_all(signal: Signal) {
    for pid in descendants() {
        // It may have ended by itself meanwhile.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// All processes below this one that are no zombies.
fn descendants() -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((state, parent)) = parse_stat(&stat) {
            parents.push((pid, parent, state != "Z"));
        }
    }
    below(i32::try_from(std::process::id()).unwrap_or_default(), &parents)
}

/// State letter and parent from `/proc/PID/stat`.
fn parse_stat(stat: &str) -> Option<(&str, i32)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?, fields.next()?.parse().ok()?))
}

/// The live processes below `top`, from (process, parent, is alive).
fn below(top: i32, parents: &[(i32, i32, bool)]) -> Vec<i32> {
    let mut found = vec![top];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|process| process.1 == parent).map(|process| process.0));
        next += 1;
    }
    found.retain(|&pid| parents.iter().any(|process| process.0 == pid && process.2 && pid != top));
    found
}

#[cfg(test)]
mod tests {
    use super::{below, parse_stat};

    #[test]
    fn grandchildren_belong_to_the_tree_and_strangers_do_not() {
        let parents = [(1, 0, true), (5, 1, true), (6, 5, true), (7, 6, true), (8, 5, false), (9, 1, true)];
        assert_eq!(below(5, &parents), [6, 7]);
    }

    #[test]
    fn parent_is_found_behind_an_odd_name() {
        assert_eq!(parse_stat("7 (x) S (y) R 5 7 7"), Some(("R", 5)));
    }
}
