//! One child in a process group of its own: its pipes are drained until the last writer is gone, and it is ended as
//! gitlab-runner ends one: SIGTERM to the group, a grace period, SIGKILL to the group, a last wait.
#![expect(clippy::disallowed_methods, reason = "the runner's children are what this program is about")]

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::scope::{POLL, Scope};

#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// The whole environment; of entries with one name the last counts.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where the child starts; none is where we are.
    pub(crate) directory: Option<PathBuf>,
    /// Fed to its stdin; none is /dev/null.
    pub(crate) stdin: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct KillTimes {
    pub(crate) graceful: Duration,
    pub(crate) force: Duration,
}

impl Default for KillTimes {
    fn default() -> Self {
        Self { graceful: Duration::from_secs(600), force: Duration::from_secs(10) }
    }
}

/// How a child ended that did not end well. Displayed as Go does: `exit status 3`, `signal: killed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Exit(i32),
    Signal(i32),
    /// It could not be started, or not be ended.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => write!(f, "signal: {}", signal_name(*number)),
            Self::Other(message) => f.write_str(message),
        }
    }
}

/// A place for a child's output; dropped when the last writer is gone.
pub(crate) type Sink = Box<dyn Write + Send>;

/// Starts the child and waits for it, and for the end of its pipes. When the scope ends, the child's group is killed.
/// `warn` hears of a group that can't be signalled.
pub(crate) fn run(
    launch: &Launch,
    stdout: Sink,
    stderr: Sink,
    scope: &Scope,
    times: KillTimes,
    warn: impl Fn(&str),
) -> Result<(), Failure> {
    let child = start(launch).map_err(|error| Failure::Other(format!("failed to start command: {error}")))?;
    let group = Pid::from_child(&child);
    let (send, ended) = mpsc::channel();
    let stdin = launch.stdin.clone();
    // Not joined: after a kill that didn't help, the child and its pipes are left behind.
    std::thread::spawn(move || send.send(wait_and_drain(child, stdin, stdout, stderr)));
    while scope.ended().is_none() {
        match ended.recv_timeout(POLL) {
            Ok(status) => return result(status),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Other("the waiting thread is gone".to_owned()));
            }
        }
    }
    let kill = |signal| {
        let outcome = kill_process_group(group, signal);
        if let Err(error) = outcome {
            warn(&format!("Failed to signal the process group: {error}"));
        }
        outcome.is_ok()
    };
    if !kill(Signal::TERM) {
        kill(Signal::KILL);
    }
    if let Some(status) = wait_until(&ended, Instant::now() + times.graceful) {
        return result(status);
    }
    kill(Signal::KILL);
    match wait_until(&ended, Instant::now() + times.force) {
        Some(status) => result(status),
        None => Err(Failure::Other(format!("failed to kill process PID={group}, likely process is dormant"))),
    }
}

fn start(launch: &Launch) -> std::io::Result<Child> {
    let program = find_program(&launch.program)?;
    let mut command = Command::new(program);
    command
        .arg0(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(launch.env.iter().map(|(key, value)| (key, value)));
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if launch.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    if let Some(directory) = &launch.directory {
        command.current_dir(directory);
    }
    command.spawn()
}

/// Looks a bare name up in our own PATH: the child's may have been changed by `job_env`.
fn find_program(program: &str) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(&path)
        .filter(|part| part.is_absolute())
        .map(|part| part.join(program))
        .find(is_executable);
    found.ok_or_else(|| {
        let message = format!("exec: \"{program}\": executable file not found in $PATH");
        std::io::Error::new(std::io::ErrorKind::NotFound, message)
    })
}

fn wait_and_drain(
    mut child: Child,
    stdin: Option<String>,
    stdout: Sink,
    stderr: Sink,
) -> std::io::Result<ExitStatus> {
    let input = child.stdin.take().zip(stdin);
    let outputs = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|threads| {
        threads.spawn(move || {
            if let Some((mut pipe, text)) = input {
                // A shell that exits early closes its end; its exit code says what happened.
                let _ = pipe.write_all(text.as_bytes());
            }
        });
        threads.spawn(move || outputs.0.map(|pipe| copy(pipe, stdout)));
        threads.spawn(move || outputs.1.map(|pipe| copy(pipe, stderr)));
        child.wait()
    })
}

fn copy(mut pipe: impl Read, mut sink: Sink) {
    let mut chunk = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut chunk) {
        if sink.write_all(&chunk[..length]).is_err() {
            return;
        }
    }
}

type Ended = mpsc::Receiver<std::io::Result<ExitStatus>>;

fn wait_until(ended: &Ended, until: Instant) -> Option<std::io::Result<ExitStatus>> {
    ended.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

fn result(status: std::io::Result<ExitStatus>) -> Result<(), Failure> {
    let status = status.map_err(|error| Failure::Other(error.to_string()))?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::Exit(code)),
        (None, signal) => Err(Failure::Signal(signal.unwrap_or(-1))),
    }
}

/// Go's words for the signals that end a job.
pub(crate) fn signal_name(number: i32) -> String {
    match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        6 => "aborted",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        _ => return format!("signal {number}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::scope::End;

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<u8>>>);

    impl Write for Collected {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn sh(script: &str, scope: &Scope, times: KillTimes) -> (Result<(), Failure>, String, Duration) {
        let env = std::env::vars_os().collect();
        let args = vec!["-c".to_owned(), script.to_owned()];
        let launch = Launch { program: "sh".into(), args, env, directory: None, stdin: None };
        let out = Collected::default();
        let start = Instant::now();
        let result = run(&launch, Box::new(out.clone()), Box::new(out.clone()), scope, times, |_| {});
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        (result, text, start.elapsed())
    }

    #[test]
    fn ends_are_worded_like_go() {
        let endless = Scope::endless();
        assert_eq!(sh("exit 3", &endless, KillTimes::default()).0.unwrap_err().to_string(), "exit status 3");
        assert_eq!(
            sh("kill -9 $$", &endless, KillTimes::default()).0.unwrap_err().to_string(),
            "signal: killed"
        );
    }

    #[test]
    fn a_background_process_that_holds_the_pipe_is_waited_for() {
        let (result, text, took) =
            sh("(sleep 0.4; echo late) & echo early", &Scope::endless(), KillTimes::default());
        assert_eq!((result, text.as_str()), (Ok(()), "early\nlate\n"));
        assert!(took >= Duration::from_millis(400), "{took:?}");
    }

    #[test]
    fn the_group_gets_sigterm_and_then_sigkill() {
        let limit = |ms| Scope::endless().child_with_timeout(Duration::from_millis(ms), End::TimedOut);
        let polite = sh(
            "trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done",
            &limit(200),
            KillTimes::default(),
        );
        assert_eq!(polite.0, Err(Failure::Exit(7)));
        assert!(polite.1.contains("bye\n"), "{}", polite.1);
        let times = KillTimes { graceful: Duration::from_millis(200), force: Duration::from_secs(5) };
        let stubborn = sh("trap '' TERM; while :; do sleep 0.05; done", &limit(200), times);
        assert_eq!(stubborn.0, Err(Failure::Signal(9)));
        assert!(stubborn.2 < Duration::from_secs(4), "{:?}", stubborn.2);
    }
}
