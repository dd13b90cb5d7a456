//! The driver's side of a pod: start it, pass the spec, wait for the end, forward a request to stop.

use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getgid, getppid, getuid};

use super::link::Link;
use super::mapping::write_maps;
use super::report::Event;
use super::spec::{Mapping, PodSpec};
use super::stop_signals::{StopSignals, StoppedBy};
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
    /// Whether the pod was told to stop, and by whom.
    pub(crate) stopped: Option<StoppedBy>,
}

/// Where a pod gets its user namespace from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home {
    /// Its own, with the host's network.
    Own(Mapping),
    /// That of the job's holder, whose PID 1 has this number, and its network.
    Holder(i32),
}

/// Runs `spec` in a new pod and waits for its end. stdout and stderr are the caller's.
///
/// SIGTERM, SIGINT, SIGHUP and the end of the parent (gitlab-runner) stop the pod: SIGTERM to every process in it, then
/// SIGKILL after [`GRACE`].
pub(crate) fn run(spec: &PodSpec, mapping: Mapping) -> Result<Outcome, PodError> {
    run_watched(spec, Home::Own(mapping), &mut || {})
}

/// The same for a pod at `home`, with a function that is called several times a second.
pub(crate) fn run_watched(spec: &PodSpec, home: Home, watch: &mut dyn FnMut()) -> Result<Outcome, PodError> {
    let signals = StopSignals::hold()?;
    let parent = getppid();
    // Without namespaces there is nothing for an outer process to do.
    let words = match home {
        Home::Own(Mapping::Unmapped) => vec!["pod-init".to_owned()],
        Home::Own(_) => vec!["pod-outer".to_owned()],
        Home::Holder(keeper) => vec!["pod-join".to_owned(), keeper.to_string()],
    };
    let mut pod = Pod { link: Link::start(&words, Stdio::inherit(), Stdio::inherit())? };
    let mut go_ahead = "";
    if !matches!(home, Home::Own(Mapping::Unmapped)) {
        pod.link.hear(&Event::Unshared)?;
        go_ahead = "g";
    }
    if let Home::Own(mapping) = home {
        write_maps(pod.link.child.id(), mapping, getuid().as_raw(), getgid().as_raw())?;
    }
    pod.send_spec(spec, go_ahead)?;
    pod.wait(&signals, parent, watch)
}

/// The running pod, as the driver holds it. Dropping it closes the control pipe, which ends the pod.
struct Pod {
    link: Link,
}

impl Pod {
    fn send_spec(&mut self, spec: &PodSpec, go_ahead: &str) -> Result<(), PodError> {
        // The go-ahead is the outer process's, the line behind it the init's.
        let spec = serde_json::to_string(spec).expect("a pod spec has only strings and numbers");
        self.link
            .send(format!("{go_ahead}{spec}\n").as_bytes())
            .map_err(|source| PodError::Namespace { action: "pass the spec to the pod", source })
    }

    /// The next event, or `None` when the pod has ended.
    fn next_event(&mut self) -> Result<Option<Event>, PodError> {
        loop {
            match self.link.next_line()? {
                None => return Ok(None),
                Some(line) => match Event::parse(&line) {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                },
            }
        }
    }

    fn wait(
        mut self,
        signals: &StopSignals,
        parent: Pid,
        watch: &mut dyn FnMut(),
    ) -> Result<Outcome, PodError> {
        let mut outcome = Outcome { code: 0, started: false, no_entrypoint: false, stopped: None };
        let mut deadline: Option<Instant> = None;
        loop {
            watch();
            if !self.link.has_buffered_line() && !self.wait_for_report(signals)? {
                let orphaned = (getppid() != parent).then_some(StoppedBy::Runner);
                let request = signals.request().or(orphaned);
                if outcome.stopped.is_none() && request.is_some() {
                    outcome.stopped = request;
                    deadline = Some(Instant::now() + GRACE);
                    // One byte means: SIGTERM to everybody. A pod that is gone needs none.
                    let _ = self.link.send(b"t");
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    self.link.end();
                    return Ok(Outcome { code: 128 + Signal::SIGKILL as i32, ..outcome });
                }
                continue;
            }
            match self.next_event()? {
                Some(Event::Unshared | Event::Connected) => {}
                Some(Event::Started) => outcome.started = true,
                Some(Event::NoEntrypoint) => outcome.no_entrypoint = true,
                Some(Event::Exited(code)) => {
                    let _ = self.link.child.wait();
                    return Ok(Outcome { code, ..outcome });
                }
                Some(Event::Failed(message)) => {
                    let _ = self.link.child.wait();
                    return Err(PodError::Inside { message });
                }
                None => {
                    let _ = self.link.child.wait();
                    return Err(PodError::Silent);
                }
            }
        }
    }

    /// Waits for a report, a signal, or a quarter of a second. True if there is a report.
    fn wait_for_report(&self, signals: &StopSignals) -> Result<bool, PodError> {
        let mut files = [
            PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        // The time limit is for the end of the parent, which has no descriptor to wait for.
        match poll(&mut files, PollTimeout::from(250_u8)) {
            Ok(_) | Err(Errno::EINTR) => Ok(files[0].any().unwrap_or(false)),
            Err(error) => Err(doing("wait for the pod")(error)),
        }
    }
}
