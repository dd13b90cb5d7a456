//! Exit codes (contracts, section 4) and the trait by which an error chooses one.

use std::error::Error;

/// Done, or nothing to do.
pub const DONE: u8 = 0;
/// Something that no other code describes.
pub const UNEXPECTED: u8 = 1;
/// The command line is wrong. clap uses the same code.
pub const USAGE: u8 = 2;
/// The configuration is wrong, or a file of ours cannot be read or is open to others.
pub const CONFIGURATION: u8 = 3;
/// GitLab refused, or cannot be reached.
pub const GITLAB: u8 = 4;
/// Some instances or launches failed, the others are done.
pub const PARTIAL: u8 = 5;

/// An error that ends a program. The chain of sources is printed by [`crate::app`], so `Display` names one level only.
pub trait Failure: Error {
    /// One of the constants of this module.
    fn exit_code(&self) -> u8 {
        UNEXPECTED
    }

    /// What the reader can do about it; one hint per line.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The whole text for stderr, without a final line break.
    ///
    /// Overridden only by errors that are reports of several problems already.
    fn report(&self) -> String {
        report_chain(self)
    }
}

/// One error with its causes and hints: what [`Failure::report`] is unless a type has a better one.
pub fn report_chain<E: Failure + ?Sized>(error: &E) -> String {
    let mut report = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        report.push_str(&format!("\ncaused by: {cause}"));
        source = cause.source();
    }
    for line in error.hint().iter().flat_map(|hint| hint.lines()) {
        report.push_str(&format!("\nhint: {line}"));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot load `a.toml`")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("file not found")]
    struct Inner;

    impl Failure for Outer {
        fn exit_code(&self) -> u8 {
            CONFIGURATION
        }
        fn hint(&self) -> Option<String> {
            Some("create it\nor name another".to_owned())
        }
    }

    #[test]
    fn a_report_has_the_chain_and_one_line_per_hint() {
        let expected =
            "error: cannot load `a.toml`\ncaused by: file not found\nhint: create it\nhint: or name another";
        assert_eq!(Outer(Inner).report(), expected);
    }
}
