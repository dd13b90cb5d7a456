//! Runs other programs: bounded in time and memory, and without anything left behind.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use meta_core::command_line::CommandLine;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{Failure, exit};

/// Bytes that are kept of each stream, the last ones. Large enough for `squeue` on a large cluster.
pub const OUTPUT_LIMIT: usize = 8 << 20;

/// Between SIGTERM and SIGKILL after a timeout.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long the streams may stay open after the program itself has ended, because something that it started in the
/// background has them.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// Reads of one stream between two looks at the clock: a megabyte.
const READS: usize = 64;

/// What a program wrote and how it ended. Failure of the program is no error here; see [`Output::require_success`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Whether one of the streams is only the tail, of [`OUTPUT_LIMIT`] bytes.
    pub truncated: bool,
}

/// Runs a program in a process group of its own, feeds its standard input and collects its output meanwhile.
///
/// The program sees our environment plus `env`, or only `env` with `clear_env`. When `timeout` is over, its whole process
/// group gets SIGTERM, and SIGKILL two seconds later.
///
/// # Errors
/// [`ProcessError::Start`] if there is no such program, [`ProcessError::TimedOut`] with what it had written by then.
pub fn run(command: &CommandLine, timeout: Duration) -> Result<Output, ProcessError> {
    let start_error = |source| ProcessError::Start { command: command.to_string(), source };
    let mut child = spawn(command).map_err(start_error)?;
    let deadline = Instant::now() + timeout;
    let mut streams =
        Streams::of(&mut child, command.stdin.as_deref().unwrap_or_default()).map_err(start_error)?;

    let ended = match watch(&mut child, &mut streams, deadline) {
        Ok(ended) => ended,
        Err(source) => {
            end_group(&mut child, &mut streams);
            return Err(ProcessError::Watch { command: command.to_string(), source });
        }
    };
    let Some(status) = ended else {
        end_group(&mut child, &mut streams);
        return Err(ProcessError::TimedOut {
            command: command.to_string(),
            timeout,
            output: text_tail(if streams.stderr.tail.is_empty() {
                &streams.stdout.tail
            } else {
                &streams.stderr.tail
            }),
        });
    };
    let truncated = streams.stdout.truncated || streams.stderr.truncated;
    Ok(Output { status, stdout: streams.stdout.tail, stderr: streams.stderr.tail, truncated })
}

impl Output {
    /// Turns an exit status other than 0 into an error that shows the command and the end of what it said.
    pub fn require_success(self, command: &CommandLine) -> Result<Self, ProcessError> {
        if self.status.success() {
            return Ok(self);
        }
        let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        Err(ProcessError::Failed {
            command: command.to_string(),
            status: Status(self.status),
            output: text_tail(said),
        })
    }
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("cannot start `{command}`")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot watch `{command}`")]
    Watch {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` did not end within {} s and was killed{}", timeout.as_secs_f32(), block(output))]
    TimedOut { command: String, timeout: Duration, output: String },
    #[error("`{command}` {status}{}", block(output))]
    Failed { command: String, status: Status, output: String },
}

impl Failure for ProcessError {
    fn exit_code(&self) -> u8 {
        exit::UNEXPECTED
    }
}

/// An exit status in words: `ended with exit code 3` or `was ended by signal 9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub ExitStatus);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "ended with exit code {code}"),
            (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
            (None, None) => write!(f, "ended in an unknown way"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
fn spawn(command: &CommandLine) -> io::Result<Child> {
    let mut process = Command::new(&command.program);
    if command.clear_env {
        process.env_clear();
    }
    if let Some(dir) = &command.cwd {
        process.current_dir(dir);
    }
    process
        .args(&command.args)
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Our ends of the three pipes, none of which ever blocks us.
struct Streams<'input> {
    stdin: Option<std::process::ChildStdin>,
    input: &'input [u8],
    stdout: Capture<std::process::ChildStdout>,
    stderr: Capture<std::process::ChildStderr>,
}

struct Capture<R> {
    pipe: Option<R>,
    tail: Vec<u8>,
    truncated: bool,
}

impl<'input> Streams<'input> {
    fn of(child: &mut Child, input: &'input str) -> io::Result<Self> {
        let streams = Self {
            stdin: child.stdin.take(),
            input: input.as_bytes(),
            stdout: Capture { pipe: child.stdout.take(), tail: Vec::new(), truncated: false },
            stderr: Capture { pipe: child.stderr.take(), tail: Vec::new(), truncated: false },
        };
        for fd in streams.open() {
            rustix::io::ioctl_fionbio(fd.0, true)?;
        }
        Ok(streams)
    }

    fn open(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let stdin = self.stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::OUT));
        let stdout = self.stdout.pipe.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN));
        let stderr = self.stderr.pipe.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN));
        stdin.into_iter().chain(stdout).chain(stderr)
    }

    fn all_output_read(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Waits up to `patience` for any of the pipes and moves what can be moved.
    fn pump(&mut self, patience: Duration) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> =
            self.open().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
        let patience = patience.try_into().map_err(io::Error::other)?;
        match poll(&mut fds, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.feed();
        self.stdout.read()?;
        self.stderr.read()
    }

    /// Writes as much input as the pipe takes; closes it at the end, or when the program does not want it.
    fn feed(&mut self) {
        while let Some(pipe) = &mut self.stdin {
            match pipe.write(self.input) {
                Err(error) if is_later(&error) => return,
                Ok(written) if written < self.input.len() => self.input = &self.input[written..],
                _ => self.stdin = None,
            }
        }
    }
}

impl<R: Read> Capture<R> {
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        // Whoever writes without end must not keep us from looking at the clock.
        for _ in 0..READS {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.keep(&buffer[..length]),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        // Cut at twice the limit only, so that each byte is moved once.
        if self.tail.len() > 2 * OUTPUT_LIMIT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.tail.len() > OUTPUT_LIMIT {
            self.tail.drain(..self.tail.len() - OUTPUT_LIMIT);
            self.truncated = true;
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Moves data until the program has ended and its output is read; None when the deadline came first.
fn watch(child: &mut Child, streams: &mut Streams<'_>, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    // Closed pipes wake us at once; a program that ends and leaves them to others is noticed at the next look. The
    // interval grows, because most programs end soon.
    let mut patience = Duration::from_millis(1);
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        let now = Instant::now();
        match ended {
            Some((status, since))
                if streams.all_output_read() || now.duration_since(since) >= DRAIN_GRACE =>
            {
                streams.stdout.cut();
                streams.stderr.cut();
                return Ok(Some(status));
            }
            None if now >= deadline => return Ok(None),
            _ => {}
        }
        if ended.is_some() {
            // What the program itself wrote is in the pipes by now.
            streams.stdin = None;
        }
        streams.pump(patience.min(deadline.saturating_duration_since(now).max(Duration::from_millis(1))))?;
        if ended.is_none() && streams.all_output_read() && streams.stdin.is_none() {
            thread::sleep(patience);
        }
        patience = (patience * 2).min(Duration::from_millis(50));
    }
}

/// Ends the whole process group and reaps the program.
fn end_group(child: &mut Child, streams: &mut Streams<'_>) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| {
        if let Some(group) = group {
            // A group that is gone already is what we want.
            let _ = kill_process_group(group, signal);
        }
    };
    signal(Signal::TERM);
    let grace = Instant::now() + TERM_GRACE;
    while Instant::now() < grace && !has_ended(group) {
        if streams.pump(Duration::from_millis(10)).is_err() || streams.all_output_read() {
            thread::sleep(Duration::from_millis(10));
        }
    }
    // The program is not reaped before this: its pid, and so the group's id, cannot have been used again.
    signal(Signal::KILL);
    // Fails only for a child that was reaped already.
    let _ = child.wait();
    streams.stdout.cut();
    streams.stderr.cut();
}

/// Whether the leader of the group has ended. It stays a zombie.
fn has_ended(group: Option<Pid>) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    group.is_none_or(|leader| !matches!(waitid(WaitId::Pid(leader), look), Ok(None)))
}

/// The last lines of what a program wrote, for an error message.
fn text_tail(bytes: &[u8]) -> String {
    const LINES: usize = 10;
    const BYTES: usize = 2000;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(BYTES)..]);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn block(output: &str) -> String {
    output.lines().map(|line| format!("\n  | {line}")).collect()
}

#[cfg(test)]
mod tests;
