//! Progress on stderr: one line per step, with the seconds since the task began.

use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Progress {
    task: &'static str,
    began: Instant,
}

impl Progress {
    pub(crate) fn begin(task: &'static str) -> Self {
        Self { task, began: Instant::now() }
    }

    pub(crate) fn step(&self, text: impl AsRef<str>) {
        eprintln!("{}: [{:6.1} s] {}", self.task, self.began.elapsed().as_secs_f64(), text.as_ref());
    }
}
