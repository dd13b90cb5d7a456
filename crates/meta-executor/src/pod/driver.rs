//! The driver's side of a pod: start it, pass the spec, wait for the end, forward a request to stop.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getgid, getppid, getuid};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};

use super::mapping::write_maps;
use super::report::Event;
use super::spec::{Mapping, PodSpec};
use super::{PodError, doing};

/// How long processes have between SIGTERM and the end of the pod. gitlab-runner's users expect a cancelled job to be gone
/// within 5 s.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// How a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Exit code of the command; 128 + signal number for a death by signal.
    pub(crate) code: i32,
    /// Whether the container's first process came to run. Never true where the command does not report it.
    pub(crate) started: bool,
    /// Whether it found no entrypoint.
    pub(crate) no_entrypoint: bool,
    /// Whether the pod was told to stop.
    pub(crate) stopped: bool,
}

/// Runs `spec` in a new pod and waits for its end. stdout and stderr are the caller's.
///
/// SIGTERM, SIGINT, SIGHUP and the end of the parent (gitlab-runner) stop the pod: SIGTERM to every process in it, then
/// SIGKILL after [`GRACE`].
pub(crate) fn run(spec: &PodSpec, mapping: Mapping) -> Result<Outcome, PodError> {
    let signals = block_stop_signals()?;
    let parent = getppid();
    // Without namespaces there is nothing for an outer process to do.
    let mut pod = start(if mapping == Mapping::Unmapped { "pod-init" } else { "pod-outer" })?;
    if mapping != Mapping::Unmapped {
        match pod.next_event()? {
            Some(Event::Unshared) => {}
            Some(Event::Failed(message)) => return Err(PodError::Inside { message }),
            _ => return Err(PodError::Silent),
        }
    }
    write_maps(pod.child.id(), mapping, getuid().as_raw(), getgid().as_raw())?;
    pod.send_spec(spec, mapping)?;
    pod.wait(&signals, parent)
}

/// The running pod, as the driver holds it. Dropping it closes the control pipe, which ends the pod.
struct Pod {
    child: Child,
    control: File,
    reports: BufReader<File>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pod inherits two pipes and nothing else, which CommandLine cannot say"
)]
fn start(process: &str) -> Result<Pod, PodError> {
    let (control_read, control_write) = pipe()?;
    let (report_read, report_write) = pipe()?;
    for inherited in [&control_read, &report_write] {
        fcntl_setfd(inherited, FdFlags::empty()).map_err(|source| PodError::Namespace {
            action: "pass a pipe to the pod",
            source: source.into(),
        })?;
    }
    let child = Command::new("/proc/self/exe")
        .arg(process)
        .args([&control_read, &report_write].map(|pipe| pipe.as_raw_fd().to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| PodError::Start { program: "/proc/self/exe".to_owned(), source })?;
    Ok(Pod { child, control: control_write.into(), reports: BufReader::new(report_read.into()) })
}

fn pipe() -> Result<(OwnedFd, OwnedFd), PodError> {
    pipe_with(PipeFlags::CLOEXEC)
        .map_err(|source| PodError::Namespace { action: "make a pipe", source: source.into() })
}

/// Blocks the signals that mean "stop" and returns the descriptor that reads them. The pod's processes unblock them.
fn block_stop_signals() -> Result<SignalFd, PodError> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        mask.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None).map_err(doing("block signals"))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(doing("read signals"))
}

impl Pod {
    fn send_spec(&mut self, spec: &PodSpec, mapping: Mapping) -> Result<(), PodError> {
        // The first byte is the outer process's go-ahead, the line behind it is the init's.
        let go_ahead = if mapping == Mapping::Unmapped { "" } else { "g" };
        let spec = serde_json::to_string(spec).expect("a pod spec has only strings and numbers");
        let line = format!("{go_ahead}{spec}\n");
        self.control
            .write_all(line.as_bytes())
            .map_err(|source| PodError::Namespace { action: "pass the spec to the pod", source })
    }

    /// The next event, or `None` when the pod has ended.
    fn next_event(&mut self) -> Result<Option<Event>, PodError> {
        loop {
            let mut line = String::new();
            match self.reports.read_line(&mut line) {
                Ok(0) => return Ok(None),
                Ok(_) => match Event::parse(line.trim_end()) {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                },
                // What the container wrote into the pipe is not our report.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(source) => return Err(PodError::Namespace { action: "read the pod's report", source }),
            }
        }
    }

    fn wait(mut self, signals: &SignalFd, parent: Pid) -> Result<Outcome, PodError> {
        let mut outcome = Outcome { code: 0, started: false, no_entrypoint: false, stopped: false };
        let mut deadline: Option<Instant> = None;
        loop {
            if self.reports.buffer().is_empty() && !self.wait_for_report(signals)? {
                if !outcome.stopped && (stop_was_asked_for(signals) || getppid() != parent) {
                    outcome.stopped = true;
                    deadline = Some(Instant::now() + GRACE);
                    // One byte means: SIGTERM to everybody. A pod that is gone needs none.
                    let _ = self.control.write_all(b"t");
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    drop(self.control);
                    let _ = self.child.wait();
                    return Ok(Outcome { code: 128 + Signal::SIGKILL as i32, ..outcome });
                }
                continue;
            }
            match self.next_event()? {
                Some(Event::Unshared) => {}
                Some(Event::Started) => outcome.started = true,
                Some(Event::NoEntrypoint) => outcome.no_entrypoint = true,
                Some(Event::Exited(code)) => {
                    let _ = self.child.wait();
                    return Ok(Outcome { code, ..outcome });
                }
                Some(Event::Failed(message)) => {
                    let _ = self.child.wait();
                    return Err(PodError::Inside { message });
                }
                None => {
                    let _ = self.child.wait();
                    return Err(PodError::Silent);
                }
            }
        }
    }

    /// Waits for a report, a signal, or a quarter of a second. True if there is a report.
    fn wait_for_report(&self, signals: &SignalFd) -> Result<bool, PodError> {
        let mut files = [
            PollFd::new(self.reports.get_ref().as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        // The time limit is for the end of the parent, which has no descriptor to wait for.
        match poll(&mut files, PollTimeout::from(250_u8)) {
            Ok(_) | Err(Errno::EINTR) => Ok(files[0].any().unwrap_or(false)),
            Err(error) => Err(doing("wait for the pod")(error)),
        }
    }
}

fn stop_was_asked_for(signals: &SignalFd) -> bool {
    matches!(signals.read_signal(), Ok(Some(_)))
}
