//! How long a program runs, and how much memory it takes at the most.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Milliseconds of each run, the fastest first.
#[derive(Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Milliseconds in any order.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// Milliseconds; 0 without samples.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// Milliseconds of the fastest run.
    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }
}

/// Runs the commands in turn, `times` times each, so that a slow moment of the machine meets all of them.
/// Panics if one can't be started or fails.
pub fn samples(commands: &[&dyn Fn() -> Command], times: usize) -> Vec<Samples> {
    let mut found: Vec<Vec<f64>> = commands.iter().map(|_| Vec::new()).collect();
    for _ in 0..times {
        for (command, samples) in commands.iter().zip(&mut found) {
            let mut command = command();
            command.stdin(Stdio::null());
            samples.push(milliseconds(&mut command));
        }
    }
    found.into_iter().map(Samples::of).collect()
}

/// Runs a command without showing what it prints. Panics if it can't be started or fails.
pub fn milliseconds(command: &mut Command) -> f64 {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().expect("the program starts");
    let elapsed = began.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{command:?}: {status}");
    elapsed
}

/// The largest resident size of a command in bytes (of its first process, without its children). Panics if it fails.
///
/// It is read from `/proc` at the moment when the process exits. `getrusage` would not do: it counts what the process was
/// before `exec`, which is us.
#[expect(clippy::zombie_processes, reason = "waitpid waits for it: std cannot tell of the exit event")]
pub fn peak_memory(command: &Command) -> u64 {
    let mut child = waiting(command);
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id is an int"));
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXIT).expect("a child can be watched");
    child.stdin.take().expect("it was asked for").write_all(b"go\n").expect("the shell reads");
    let mut peak = None;
    loop {
        match waitpid(pid, None).expect("it is our child") {
            WaitStatus::PtraceEvent(..) => {
                peak = high_water_mark(pid);
                ptrace::detach(pid, None).expect("it is stopped");
            }
            WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).expect("it is stopped"),
            status => {
                assert_eq!(status, WaitStatus::Exited(pid, 0), "{command:?}");
                return peak.expect("the kernel tells of the exit");
            }
        }
    }
}

/// The command behind a shell that waits for a line on its input before it becomes it.
fn waiting(command: &Command) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read -r go; exec \"$@\" </dev/null", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    silent(shell).stdin(Stdio::piped()).spawn().expect("a shell starts")
}

fn silent(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// `VmHWM` of a process, in bytes.
fn high_water_mark(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::{peak_memory, samples};
    use std::process::Command;

    #[test]
    fn memory_is_that_of_the_program_and_not_ours() {
        let small = peak_memory(&Command::new("true"));
        let mut large = Command::new("sh");
        large.args(["-c", "text=$(head -c 8000000 /dev/zero | tr '\\0' x); : \"$text\""]);
        let large = peak_memory(&large);
        assert!(small > 0 && large > small + 8_000_000, "{small} and {large} bytes");
    }

    #[test]
    #[should_panic(expected = "false")]
    fn a_failing_command_is_no_sample() {
        samples(&[&|| Command::new("false")], 1);
    }

    #[test]
    fn samples_are_in_order() {
        let found = samples(&[&|| Command::new("true")], 5);
        assert!(found[0].least() <= found[0].median() && found[0].median() > 0.0);
    }
}
