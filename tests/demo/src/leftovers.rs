//! What a demo must not leave behind: batch jobs, processes, its directory.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::demo::step;
use crate::place::Place;
use crate::runner::program;

/// How long jobs and processes may take to end by themselves.
const GRACE: Duration = Duration::from_secs(15);

/// Makes this process the parent of those that its children leave behind, so that [`end`] finds them.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    prctl::set_child_subreaper(true).map_err(io::Error::from)
}

/// Ends everything that the demo started and removes its directory. What cannot be done is said.
pub(crate) fn end(place: &Place) {
    if program("scancel").is_some() {
        end_batch_jobs(&place.name());
    }
    end_processes();
    remove(place.path());
}

/// Batch jobs carry the demo's name. They are gone when the queue says so.
fn end_batch_jobs(name: &str) {
    let began = Instant::now();
    while !in_queue(name).is_empty() {
        if began.elapsed() > GRACE {
            step(format!("batch jobs are still there: squeue --me --name={name}"));
            return;
        }
        quiet(Command::new("scancel").args(["--me", "--name", name]));
        sleep(Duration::from_millis(300));
    }
}

fn in_queue(name: &str) -> String {
    let output = quiet(Command::new("squeue").args(["--me", "--noheader", "--name", name, "--format=%A"]));
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn end_processes() {
    let began = Instant::now();
    let mut signal = Signal::SIGTERM;
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok() {
        if began.elapsed() > GRACE {
            signal = Signal::SIGKILL;
        }
        for pid in children() {
            // It may have ended by itself meanwhile.
            let _ = kill(pid, signal);
        }
        sleep(Duration::from_millis(100));
    }
}

/// Processes whose parent is this one: their own children come here when they end.
fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent(*pid).as_deref() == Some(&own)).map(Pid::from_raw).collect()
}

/// The fourth field of `/proc/PID/stat`; the second is a name in brackets that may hold anything.
fn parent(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1).map(str::to_owned)
}

/// Unpacked images have files of subordinate ids, which only a user namespace can remove.
fn remove(directory: &Path) {
    for map in ["--map-auto", "--map-current-user"] {
        let rm = ["--map-root-user", "rm", "-rf", "--"];
        quiet(Command::new("unshare").arg(map).args(rm).arg(directory));
        if !directory.exists() {
            return;
        }
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        step(format!("cannot remove `{}`: {error}", directory.display()));
    }
}

fn quiet(command: &mut Command) -> Option<Output> {
    command.stdin(Stdio::null()).output().ok()
}
