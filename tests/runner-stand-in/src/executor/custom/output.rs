//! Where a driver's output goes that is not for the job log.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::runner_log;

/// Keeps all, for a call whose stdout is an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What cleanup_exec says on stderr goes, line by line, to the runner's own log.
#[derive(Debug, Default)]
pub(super) struct RunnerLog(Vec<u8>);

impl Write for RunnerLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            runner_log::log(
                runner_log::Level::Warning,
                String::from_utf8_lossy(&line).trim_end(),
                &[("cleanup_std", &"err")],
            );
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
