//! Looking for processes that a job left behind.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what happens at once: a wide safety limit, not a measurement.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Pids of processes whose command line contains `mark`.
pub fn with_mark(mark: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let marked = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(mark)
    };
    pids.filter(|pid| *pid != std::process::id()).filter(marked).collect()
}

/// Waits until `done` holds. The limit is a wide safety limit, not a measurement.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Sends `signal` (`TERM`) to a process, or with a dash in front to a process group.
pub fn send(signal: &str, target: &str) {
    let status =
        Command::new("kill").args([&format!("-{signal}"), "--", target]).status().expect("kill starts");
    assert!(status.success(), "kill -{signal} {target}");
}
