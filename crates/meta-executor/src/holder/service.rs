//! A service, as the holder has it: a pod inside the pod, its log and the question whether it is ready.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use meta_host::clock;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::protocol::{Answer, Refusal, ServiceSpec};
use crate::network::{OwnNetwork, plumbing};
use crate::pod::link::{Link, pipe};
use crate::pod::report::Event;
use crate::pod::{PodError, doing};
use crate::services::output::LogWriter;

/// The service answers at once or not at all: it is in the same machine.
const CONNECT: Duration = Duration::from_millis(200);

/// How many buffers of a service's output are copied before others have their turn: a megabyte.
const PIECES: usize = 64;

pub(super) struct Service {
    index: usize,
    link: Link,
    log: LogWriter<File>,
    /// What the service writes; `None` when all of its processes are gone.
    output: Option<File>,
    targets: Vec<SocketAddr>,
    state: State,
    no_command: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Ended,
}

impl Service {
    /// Starts what `spec` says, with an address of its own if there is a bridge.
    pub(super) fn start(spec: ServiceSpec, bridge: Option<&OwnNetwork>) -> Result<Self, Refusal> {
        if bridge.is_none() {
            check_free(&spec.ports)?;
        }
        let log = File::create(&spec.log).map_err(|source| PodError::Io {
            action: "make",
            path: spec.log.clone(),
            source,
        })?;
        let (output, written) = pipe()?;
        let link = start(&spec, bridge, written)?;
        let output = File::from(output);
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(doing("read a service's output"))?;
        let targets = spec.ports.iter().map(|&port| SocketAddr::from((spec.address, port))).collect();
        Ok(Self {
            index: spec.index,
            link,
            log: LogWriter::new(log),
            output: Some(output),
            targets,
            state: State::Starting,
            no_command: false,
        })
    }

    /// Whether it must be asked soon.
    pub(super) fn is_starting(&self) -> bool {
        self.state == State::Starting && !self.targets.is_empty()
    }

    /// What poll(2) should watch.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let reports = (self.state != State::Ended).then(|| self.link.as_fd());
        reports.into_iter().chain(self.output.as_ref().map(AsFd::as_fd))
    }

    /// Reads what there is to read, asks whether the service is ready, and gives the news.
    pub(super) fn look(&mut self) -> Vec<Answer> {
        let mut news = Vec::new();
        self.copy_output();
        if let Some(code) = self.hear_reports(&mut news) {
            self.copy_output();
            self.state = State::Ended;
            news.push(match self.no_command {
                true => Answer::Refused { index: self.index, reason: Refusal::NoCommand },
                false => Answer::Ended { index: self.index, code },
            });
        }
        if self.state == State::Starting
            && self.targets.iter().any(|target| TcpStream::connect_timeout(target, CONNECT).is_ok())
        {
            self.state = State::Ready;
            news.push(Answer::Ready { index: self.index });
        }
        news
    }

    fn copy_output(&mut self) {
        if self.output.as_mut().is_some_and(|output| copy(output, &mut self.log).is_break()) {
            self.output = None;
        }
    }

    /// Reads what the pod reports. The exit code, if the service has ended.
    fn hear_reports(&mut self, news: &mut Vec<Answer>) -> Option<i32> {
        while self.state != State::Ended && self.has_report() {
            let Ok(Some(line)) = self.link.next_line() else {
                return Some(128 + nix::sys::signal::Signal::SIGKILL as i32);
            };
            match Event::parse(&line) {
                Some(Event::Exited(code)) => return Some(code),
                Some(Event::Failed(message)) => {
                    let _ = self.log.write(format!("{message}\n").as_bytes(), clock::moment());
                    return Some(128);
                }
                Some(Event::NoEntrypoint) => self.no_command = true,
                Some(Event::Started) => news.push(Answer::Started { index: self.index }),
                _ => {}
            }
        }
        None
    }

    fn has_report(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut files = [PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
        self.link.has_buffered_line() || poll(&mut files, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

/// Copies what there is, and of a flood a part: other services wait for their turn. Break when there is no more to come.
fn copy(output: &mut impl Read, log: &mut LogWriter<impl Write>) -> ControlFlow<()> {
    let mut buffer = [0; 16 * 1024];
    for _ in 0..PIECES {
        match output.read(&mut buffer) {
            Ok(0) => return ControlFlow::Break(()),
            // A disk that is full must not stop the service.
            Ok(count) => drop(log.write(&buffer[..count], clock::moment())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ControlFlow::Continue(()),
            Err(_) => return ControlFlow::Break(()),
        }
    }
    ControlFlow::Continue(())
}

fn start(spec: &ServiceSpec, bridge: Option<&OwnNetwork>, written: OwnedFd) -> Result<Link, PodError> {
    let network = bridge.map(|network| [network.ip.display().to_string(), spec.address.to_string()]);
    let words: Vec<String> =
        ["service-outer".to_owned()].into_iter().chain(network.into_iter().flatten()).collect();
    let copy = written
        .try_clone()
        .map_err(|source| PodError::Namespace { action: "copy a service's output", source })?;
    let mut link = Link::start(&words, written.into(), copy.into())?;
    link.hear(&Event::Unshared)?;
    if let Some(network) = bridge {
        plumbing::connect(&network.ip, spec.index, link.child.id())?;
    }
    let pod = serde_json::to_string(&spec.pod).expect("a pod spec has only strings and numbers");
    link.send(format!("g{pod}\n").as_bytes())
        .map_err(|source| PodError::Namespace { action: "pass the spec to a service", source })?;
    if bridge.is_some() {
        // A connection to an address that nobody has yet is not tried again before a second is over.
        link.hear(&Event::Connected)?;
    }
    Ok(link)
}

/// Where everybody shares one network, a service could not listen on a port that another process has, and the job would talk
/// to that process.
fn check_free(ports: &[u16]) -> Result<(), Refusal> {
    for &port in ports {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(Refusal::PortTaken(port)),
            // Whatever else it is: the service says it better.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_does_not_hold_the_keeper() {
        let mut log = LogWriter::new(Vec::new());
        assert!(copy(&mut io::repeat(b'\n'), &mut log).is_continue());
        assert!(copy(&mut io::empty(), &mut log).is_break());
    }
}
