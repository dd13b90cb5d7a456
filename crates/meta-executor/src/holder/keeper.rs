//! The holder's inner process: PID 1 of the pod.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::sethostname;
use rustix::io::write;

use super::protocol::{Answer, KeeperSpec, Refusal, Request};
use super::service::Service;
use crate::failure::chain;
use crate::network::{OwnNetwork, plumbing};
use crate::pod::{PodError, doing, mounts};

/// How often a service that is not ready is asked, and otherwise how often ended processes are collected.
const ASK: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(2);

/// Body of `meta-executor holder-keeper CONTROL REPORTS LIFELINE`.
pub(crate) fn main(control: OwnedFd, reports: OwnedFd, lifeline: OwnedFd) -> ExitCode {
    if let Err(error) = run(control, &reports, lifeline) {
        report(&reports, &Answer::Failed { message: chain(&error) });
    }
    // The end of PID 1 is the end of every process in the pod.
    ExitCode::SUCCESS
}

/// Writes an answer. When `prepare` is gone nobody wants it, so errors are ignored.
pub(super) fn report(reports: &OwnedFd, answer: &Answer) {
    let mut line = serde_json::to_vec(answer).expect("an answer has only strings and numbers");
    line.push(b'\n');
    let _ = write(reports, &line);
}

fn run(control: OwnedFd, reports: &OwnedFd, lifeline: OwnedFd) -> Result<(), PodError> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(doing("unblock signals"))?;
    for private in [control.as_fd(), reports.as_fd(), lifeline.as_fd()] {
        fcntl(private, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(doing("keep a pipe from services"))?;
    }
    let mut control = BufReader::new(File::from(control));
    let spec: KeeperSpec = match next_line(&mut control)? {
        Some(line) => understand(&line)?,
        None => return Ok(()),
    };
    sethostname(&spec.hostname).map_err(doing("set the host name"))?;
    mounts::make_private()?;
    mounts::proc("/proc".as_ref())?;
    let bridge = make_network(spec.network.as_ref())?;
    report(reports, &Answer::Up { own_addresses: bridge.is_some() });
    let mut keeper = Keeper { control: Some(control), reports, bridge, services: Vec::new() };
    keeper.serve(&lifeline)
}

/// Makes the network. Gives what makes services their own part of it, if the kernel lets us.
fn make_network(network: Option<&OwnNetwork>) -> Result<Option<OwnNetwork>, PodError> {
    let Some(network) = network else { return Ok(None) };
    plumbing::make(network)?;
    Ok(plumbing::make_bridge(network).is_ok().then(|| network.clone()))
}

struct Keeper<'a> {
    /// `None` when `prepare` is done.
    control: Option<BufReader<File>>,
    reports: &'a OwnedFd,
    bridge: Option<OwnNetwork>,
    services: Vec<Service>,
}

impl Keeper<'_> {
    /// Works until the guard, or `prepare` before it is done, ends.
    fn serve(&mut self, lifeline: &OwnedFd) -> Result<(), PodError> {
        loop {
            if !self.wait(lifeline)? {
                return Ok(());
            }
            for service in &mut self.services {
                for answer in service.look() {
                    report(self.reports, &answer);
                }
            }
            collect_ended();
        }
    }

    /// Waits for something to happen; requests are done here. False when the pod must end.
    fn wait(&mut self, lifeline: &OwnedFd) -> Result<bool, PodError> {
        let limit = if self.services.iter().any(Service::is_starting) { ASK } else { IDLE };
        let mut files = vec![PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)];
        let control = self.control.as_ref().map(|control| control.get_ref().as_fd());
        files.extend(control.map(|control| PollFd::new(control, PollFlags::POLLIN)));
        files.extend(
            self.services.iter().flat_map(Service::files).map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        match poll(&mut files, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(doing("wait for services")(error)),
        }
        let happened = |file: &PollFd<'_>| file.any().unwrap_or(false);
        if happened(&files[0]) {
            return Ok(false);
        }
        if self.control.is_some() && happened(&files[1]) { self.requests() } else { Ok(true) }
    }

    fn requests(&mut self) -> Result<bool, PodError> {
        let Some(mut control) = self.control.take() else { return Ok(true) };
        loop {
            let Some(line) = next_line(&mut control)? else { return Ok(false) };
            match understand(&line)? {
                Request::Stay => return Ok(true),
                Request::Start(spec) => {
                    let index = spec.index;
                    let is_silent = spec.pod.command.entry.is_none();
                    match Service::start(*spec, self.bridge.as_ref()) {
                        Ok(service) => {
                            self.services.push(service);
                            if is_silent {
                                report(self.reports, &Answer::Started { index });
                            }
                        }
                        Err(reason) => report(self.reports, &Answer::Refused { index, reason }),
                    }
                }
            }
            // What is buffered is not shown by poll(2).
            if control.buffer().is_empty() {
                self.control = Some(control);
                return Ok(true);
            }
        }
    }
}

impl From<PodError> for Refusal {
    fn from(error: PodError) -> Self {
        Self::Other(chain(&error))
    }
}

fn next_line(control: &mut BufReader<File>) -> Result<Option<String>, PodError> {
    let mut line = String::new();
    match control.read_line(&mut line) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(line)),
        Err(source) => Err(PodError::Namespace { action: "read a request", source }),
    }
}

fn understand<T: serde::de::DeserializeOwned>(line: &str) -> Result<T, PodError> {
    serde_json::from_str(line)
        .map_err(|source| PodError::Namespace { action: "understand a request", source: source.into() })
}

/// Services end as children of their outer process; what is collected here lost its parent, or was pasta's.
fn collect_ended() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
