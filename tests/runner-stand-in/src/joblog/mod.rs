//! What is written into the job log: the runner's own lines and the output of programs, masked and with time stamps.

mod masking;
mod timestamps;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use masking::Masker;
use timestamps::Stamper;

use crate::runner_log;
use crate::trace::buffer::Buffer;

pub(crate) const BOLD_CYAN: &str = "\x1b[36;1m";
pub(crate) const BOLD_GREEN: &str = "\x1b[32;1m";
const BOLD_RED: &str = "\x1b[31;1m";
pub(crate) const YELLOW: &str = "\x1b[0;33m";
pub(crate) const RESET: &str = "\x1b[0;m";
pub(crate) const CLEAR: &str = "\x1b[0K";

/// How a log is to be written; the same for all streams of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Style {
    pub(crate) phrases: Vec<String>,
    pub(crate) token_prefixes: Vec<String>,
    pub(crate) timestamps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Stream 0: the runner itself, and what a driver says in config and prepare.
    ExecutorOut,
    ExecutorErr,
    /// Stream 1: the stages.
    WorkOut,
    WorkErr,
}

/// One job's log. Clones write to the same place.
#[derive(Clone, Debug)]
pub(crate) struct JobLog {
    own: Arc<Mutex<Stream>>,
    buffer: Arc<Buffer>,
    style: Arc<Style>,
}

impl JobLog {
    pub(crate) fn new(buffer: Arc<Buffer>, style: Style) -> Self {
        let style = Arc::new(style);
        let own = Stream::new(Arc::clone(&buffer), &style, Source::ExecutorOut);
        Self { own: Arc::new(Mutex::new(own)), buffer, style }
    }

    /// For the output of a program; closed, and thereby flushed, when dropped.
    pub(crate) fn stream(&self, source: Source) -> Stream {
        Stream::new(Arc::clone(&self.buffer), &self.style, source)
    }

    /// Writes as given, without a line end.
    pub(crate) fn raw(&self, text: &str) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).feed(text.as_bytes());
    }

    pub(crate) fn plain(&self, text: &str) {
        self.raw(&format!("{CLEAR}{text}{RESET}\n"));
    }

    pub(crate) fn info(&self, text: &str) {
        self.raw(&format!("{BOLD_GREEN}{text}{RESET}\n"));
    }

    /// Also goes to the runner's own log.
    pub(crate) fn warning(&self, text: &str) {
        self.raw(&format!("{YELLOW}WARNING: {text}{RESET}\n"));
        runner_log::warning(text);
    }

    /// Also goes to the runner's own log.
    pub(crate) fn error(&self, text: &str) {
        self.raw(&format!("{BOLD_RED}ERROR: {text}{RESET}\n"));
        runner_log::warning(text);
    }

    /// Writes out what is still held back, such as the start of a phrase to be masked.
    pub(crate) fn close(&self) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).close();
    }
}

/// One program's stdout or stderr on its way into the log.
#[derive(Debug)]
pub(crate) struct Stream {
    masker: Masker,
    stamper: Option<Stamper>,
    buffer: Arc<Buffer>,
}

impl Stream {
    fn new(buffer: Arc<Buffer>, style: &Style, source: Source) -> Self {
        let (number, letter) = match source {
            Source::ExecutorOut => (0, 'O'),
            Source::ExecutorErr => (0, 'E'),
            Source::WorkOut => (1, 'O'),
            Source::WorkErr => (1, 'E'),
        };
        let stamper = style.timestamps.then(|| Stamper::new(number, letter));
        Self { masker: Masker::new(&style.phrases, &style.token_prefixes), stamper, buffer }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let masked = self.masker.feed(bytes);
        self.put(&masked);
    }

    fn put(&mut self, bytes: &[u8]) {
        match &mut self.stamper {
            Some(stamper) => self.buffer.write(&stamper.feed(bytes)),
            None => self.buffer.write(bytes),
        }
    }

    fn close(&mut self) {
        let rest = self.masker.finish();
        self.put(&rest);
        if let Some(stamper) = &mut self.stamper {
            self.buffer.write(&stamper.finish());
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}
