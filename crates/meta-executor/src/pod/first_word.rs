//! What the container's first process says: that it runs, or that it found no entrypoint.
//!
//! An image brings its own shell, which may write whatever it likes and as much. So it has a pipe of its own, of which the
//! init takes the first line and nothing else; the pod's report pipe is not in the container.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::link::pipe_out_of_the_way;
use super::report::Event;
use super::{PodError, doing};

/// Longer than each word that means something, in bytes.
const MOST: usize = 64;

/// The reading end. It is closed when the word was said.
pub(super) struct FirstWord {
    pipe: Option<File>,
}

impl FirstWord {
    /// The reader, and the end to be written to.
    pub(super) fn pipe() -> Result<(Self, OwnedFd), PodError> {
        let (read, write) = pipe_out_of_the_way()?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(doing("listen to the container"))?;
        Ok((Self { pipe: Some(read.into()) }, write))
    }

    /// What poll(2) should watch.
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The word, once it is complete. Never waits.
    pub(super) fn take(&mut self) -> Option<Event> {
        let mut buffer = [0; MOST];
        let count = match self.pipe.as_mut()?.read(&mut buffer) {
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
                return None;
            }
            // It is written at once, by one write(2), or it is not ours.
            result => result.unwrap_or(0),
        };
        self.pipe = None;
        let text = String::from_utf8_lossy(&buffer[..count]);
        let word = text.lines().next().and_then(Event::parse);
        word.filter(|event| matches!(event, Event::Started | Event::NoEntrypoint))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn said(words: &[&str]) -> Option<Event> {
        let (mut first, write) = FirstWord::pipe().unwrap();
        assert_eq!(first.take(), None, "nothing is said yet");
        assert!(first.file().is_some());
        let mut write = File::from(write);
        for word in words {
            // The reader may have heard enough.
            let _ = write.write_all(word.as_bytes());
        }
        let event = first.take();
        assert!(first.file().is_none() && first.take().is_none(), "it is said once");
        event
    }

    #[test]
    fn only_two_words_mean_something() {
        assert_eq!(said(&["started\n"]), Some(Event::Started));
        assert_eq!(said(&["no-entrypoint\n"]), Some(Event::NoEntrypoint));
        assert_eq!(said(&["started\n", "exited 0\n", "failed x\n"]), Some(Event::Started));
        let endless = "x".repeat(60_000);
        for forged in ["exited 0\n", "failed by me\n", "unshared\n", "x\nstarted\n", "x", endless.as_str()] {
            assert_eq!(said(&[forged]), None, "{forged:.20}");
        }
    }
}
