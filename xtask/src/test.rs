//! `cargo xtask test`: every test there is, with one closing line that counts them.

use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::bed::Handle;
use crate::failure::{During, Failure, Result};
use crate::interrupt::Interrupt;
use crate::process::run;
use crate::workspace::{cargo, target};

/// Where the bed has the target folder.
const TARGET_IN_BED: &str = "/opt/target";

/// Runs unit and program tests on the host, then the end-to-end suites in the bed.
pub(crate) fn all() -> Result<ExitCode> {
    let bed = Handle::new()?;
    let mut total = Counts::default();
    total += count(cargo().args(["test", "--workspace", "--exclude", "end-to-end", "--no-fail-fast"]))?;
    total += count(cargo().args(["test", "-p", "end-to-end", "--lib"]))?;
    // The suites start our programs and the stand-ins from the target folder.
    run(cargo().args(["build", "--workspace", "--bins"]))?;
    bed.up(&Interrupt::watch()?)?;
    total += count(bed.exec().args(["--env", "META_RUNNER_IN_BED=1", "--"]).arg(suite()?))?;
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the end-to-end suite and says where it is in the bed.
fn suite() -> Result<PathBuf> {
    let messages = run(cargo().args([
        "test",
        "-p",
        "end-to-end",
        "--test",
        "bed",
        "--no-run",
        "--message-format=json",
    ]))?;
    let path = messages.lines().filter_map(executable).next_back();
    let path = path.ok_or_else(|| Failure::new("cargo names no executable for the suite `bed`"))?;
    let below = path.strip_prefix(target()).map(PathBuf::from);
    below
        .map(|below| PathBuf::from(TARGET_IN_BED).join(below))
        .map_err(|_| Failure::new(format!("the suite `{}` is not in the target folder", path.display())))
}

/// The value of `"executable"` in one of cargo's messages. Paths with quotes in them do not occur.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    Some(PathBuf::from(rest.split_once('"')?.0))
}

/// What test programs counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs a command that runs tests, shows its output as it comes, and adds up its result lines.
fn count(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .during(|| format!("start `{}`", command.get_program().to_string_lossy()))?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            println!("{line}");
            if let Some(found) = parse(&line) {
                counts += found;
            }
        }
    }
    let status = child.wait().during(|| "wait for the tests".to_owned())?;
    if !status.success() && counts.failed == 0 {
        // It did not build, or died: that must not pass for a run without failures.
        return Err(Failure::new(format!("the tests ended without a count of failures ({status})")));
    }
    Ok(counts)
}

/// The counts of `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn parse(line: &str) -> Option<Counts> {
    let (_, fields) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for field in fields.split(';') {
        let mut words = field.split_whitespace();
        let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
        match (number.parse(), kind) {
            (Ok(number), "passed") => counts.passed = number,
            (Ok(number), "failed") => counts.failed = number,
            (Ok(number), "ignored") => counts.skipped = number,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::{Counts, executable, parse};
    use std::path::PathBuf;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 42 passed; 4 failed; 2 ignored; 0 measured; 0 filtered out; finished in 31.10s";
        assert_eq!(parse(line), Some(Counts { passed: 42, failed: 4, skipped: 2 }));
        assert_eq!(parse("test images: pull policies ... ok"), None);
    }

    #[test]
    fn the_executable_is_found_in_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/debug/deps/bed-1","fresh":true}"#;
        assert_eq!(executable(message), Some(PathBuf::from("/t/debug/deps/bed-1")));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
