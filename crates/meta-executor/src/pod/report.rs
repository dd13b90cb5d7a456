//! The pod's report pipe: one line per event, from the pod's processes to the driver.

use std::os::fd::OwnedFd;

use rustix::io::write;

/// What the container's first shell writes when there is no such entrypoint.
pub(crate) const NO_ENTRYPOINT: &str = "no-entrypoint";

/// What it writes otherwise.
pub(crate) const STARTED: &str = "started";

/// An event that a process of the pod reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The namespaces exist; the driver may write the id maps.
    Unshared,
    /// The service has its address.
    Connected,
    /// The container's first process runs: from here on, failures are the job's.
    Started,
    /// It runs, and found that there is no such entrypoint in the image.
    NoEntrypoint,
    /// The command ended with this code (128 + signal number for a death by signal).
    Exited(i32),
    /// The pod could not be made.
    Failed(String),
}

impl Event {
    /// The line for `event`, with its line feed.
    fn line(&self) -> String {
        match self {
            Self::Unshared => "unshared\n".to_owned(),
            Self::Connected => "connected\n".to_owned(),
            Self::Started => format!("{STARTED}\n"),
            Self::NoEntrypoint => format!("{NO_ENTRYPOINT}\n"),
            Self::Exited(code) => format!("exited {code}\n"),
            Self::Failed(message) => format!("failed {}\n", message.replace('\n', " ")),
        }
    }

    /// Reads one line. What a container says is not ours, so unknown lines are `None`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("unshared", _) => Some(Self::Unshared),
            ("connected", _) => Some(Self::Connected),
            (STARTED, _) => Some(Self::Started),
            (NO_ENTRYPOINT, _) => Some(Self::NoEntrypoint),
            ("exited", code) => code.parse().ok().map(Self::Exited),
            ("failed", message) => Some(Self::Failed(message.to_owned())),
            _ => None,
        }
    }
}

/// Writes `event`. A driver that is gone needs no report, so errors are ignored.
pub(crate) fn report(pipe: &OwnedFd, event: &Event) {
    let _ = write(pipe, event.line().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_pipe() {
        for event in [
            Event::Unshared,
            Event::Connected,
            Event::Started,
            Event::NoEntrypoint,
            Event::Exited(137),
            Event::Failed("no overlay: x".to_owned()),
        ] {
            assert_eq!(Event::parse(event.line().trim_end()), Some(event));
        }
        assert_eq!(Event::parse("exited soon"), None);
        assert_eq!(Event::parse("anything"), None);
    }
}
