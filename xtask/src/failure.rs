//! The error of every task: what was being done, why it failed, what to do.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A failed step. `Display` gives only the step; [`Failure::report`] prints the whole.
#[derive(Debug)]
pub(crate) struct Failure {
    step: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    output: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(step: impl Into<String>) -> Self {
        Self { step: step.into(), source: None, output: Vec::new(), hint: None }
    }

    /// The last lines that the failed program printed, oldest first.
    pub(crate) fn with_output(mut self, lines: Vec<String>) -> Self {
        self.output = lines;
        self
    }

    /// Says what was being done in other words, where the command line is too long to be read.
    pub(crate) fn with_step(mut self, step: impl Into<String>) -> Self {
        self.step = step.into();
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the failure on stderr and gives the exit code 1.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("error: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            eprintln!("  caused by: {error}");
            cause = error.source();
        }
        for line in &self.output {
            eprintln!("  | {line}");
        }
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::FAILURE
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.step)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn Error + 'static))
    }
}

/// Says which step an error of the system belongs to.
pub(crate) trait During<T> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for std::result::Result<T, E> {
    fn during(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure { source: Some(error.into()), ..Failure::new(step()) })
    }
}
