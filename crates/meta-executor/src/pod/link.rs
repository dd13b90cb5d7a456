//! Another process of this program with two pipes: one that controls it, one on which it reports.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};

use super::PodError;
use super::report::Event;

/// The starting side. Dropping it closes the control pipe, which is the lifeline of what was started.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) child: Child,
    control: File,
    reports: BufReader<File>,
}

impl Link {
    /// Starts the hidden command `words` of this program (`inside`), with the numbers of its ends of the two pipes behind
    /// them. It inherits nothing else.
    #[expect(
        clippy::disallowed_methods,
        reason = "the process inherits two pipes and nothing else, which CommandLine cannot say"
    )]
    pub(crate) fn start(words: &[String], stdout: Stdio, stderr: Stdio) -> Result<Self, PodError> {
        let (control_read, control_write) = pipe()?;
        let (report_read, report_write) = pipe()?;
        for inherited in [&control_read, &report_write] {
            inherit(inherited)?;
        }
        let child = Command::new("/proc/self/exe")
            .args(words)
            .args([&control_read, &report_write].map(|pipe| pipe.as_raw_fd().to_string()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|source| PodError::Start { program: "/proc/self/exe".to_owned(), source })?;
        Ok(Self { child, control: control_write.into(), reports: BufReader::new(report_read.into()) })
    }

    /// Writes into the control pipe.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.control.write_all(bytes)
    }

    /// Closes the control pipe and waits until the process has ended.
    pub(crate) fn end(self) {
        let Self { mut child, control, .. } = self;
        drop(control);
        let _ = child.wait();
    }

    /// The next line of the report pipe, which only processes of this program have, or `None` when it is closed.
    pub(crate) fn next_line(&mut self) -> Result<Option<String>, PodError> {
        let mut line = String::new();
        match self.reports.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end().to_owned())),
            Err(source) => Err(PodError::Namespace { action: "read the pod's report", source }),
        }
    }

    /// Waits until the process reports `event`, as the next that it reports.
    pub(crate) fn hear(&mut self, event: &Event) -> Result<(), PodError> {
        match self.next_line()?.as_deref().and_then(Event::parse) {
            Some(heard) if heard == *event => Ok(()),
            Some(Event::Failed(message)) => Err(PodError::Inside { message }),
            _ => Err(PodError::Silent),
        }
    }

    /// Whether `next_line` has something in its buffer, which no poll(2) shows.
    pub(crate) fn has_buffered_line(&self) -> bool {
        !self.reports.buffer().is_empty()
    }
}

impl AsFd for Link {
    /// The report pipe, for poll(2).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reports.get_ref().as_fd()
    }
}

/// A pipe that no child inherits: (read end, write end).
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), PodError> {
    pipe_with(PipeFlags::CLOEXEC)
        .map_err(|source| PodError::Namespace { action: "make a pipe", source: source.into() })
}

/// The same without the numbers of one digit, by which the container knows descriptors.
pub(super) fn pipe_out_of_the_way() -> Result<(OwnedFd, OwnedFd), PodError> {
    let (read, write) = pipe()?;
    let moved = |end: &OwnedFd| {
        fcntl_dupfd_cloexec(end, 10)
            .map_err(|source| PodError::Namespace { action: "move a pipe", source: source.into() })
    };
    Ok((moved(&read)?, moved(&write)?))
}

/// Lets children inherit `fd`.
pub(crate) fn inherit(fd: impl AsFd) -> Result<(), PodError> {
    fcntl_setfd(fd, FdFlags::empty())
        .map_err(|source| PodError::Namespace { action: "pass a pipe on", source: source.into() })
}
