//! The runner's own log on stderr, in the layout of the real one: message padded to 50 columns, then sorted fields.

use std::fmt::Display;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
    Fatal,
}

/// Writes one line. Fields come as `(key, value)` and are printed as given, so give them sorted.
pub(crate) fn log(level: Level, message: impl Display, fields: &[(&str, &dyn Display)]) {
    let prefix = match level {
        Level::Info => "",
        Level::Warning => "WARNING: ",
        Level::Error => "ERROR: ",
        Level::Fatal => "FATAL: ",
    };
    let mut line = format!("{:<50} ", format!("{prefix}{message}"));
    for (key, value) in fields {
        line.push_str(&format!(" {key}={value}"));
    }
    eprintln!("{line}");
}

pub(crate) fn info(message: impl Display) {
    log(Level::Info, message, &[]);
}

pub(crate) fn warning(message: impl Display) {
    log(Level::Warning, message, &[]);
}

pub(crate) fn error(message: impl Display) {
    log(Level::Error, message, &[]);
}

/// Reports and ends the process with exit code 1, as logrus' `Fatal` does, also from a thread.
#[expect(clippy::exit, reason = "the real runner ends at once, whatever its other threads do")]
pub(crate) fn fatal(message: impl Display) -> ! {
    log(Level::Fatal, message, &[]);
    std::process::exit(1)
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
