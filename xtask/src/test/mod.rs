//! `cargo xtask test`: every test there is, with one closing line that counts them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::bed::Handle;
use crate::failure::{During, Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::workspace::{cargo, target};
use tally::Tally;

mod tally;

/// Where the bed has the target folder.
const TARGET_IN_BED: &str = "/opt/target";

/// Tells the suites of the bed whether they are in it, or will be run there by us.
const IN_BED: &str = "META_RUNNER_IN_BED";

/// Runs unit and program tests on the host, then the end-to-end suites in the bed.
pub(crate) fn all() -> Result<ExitCode> {
    let interrupt = Interrupt::watch()?;
    let progress = Progress::begin("test");
    let bed = Handle::new()?;
    progress.step("building all programs and tests");
    let suite = build()?;
    let mut tally = Tally::default();
    progress.step("unit and program tests");
    run_tests(
        cargo().env(IN_BED, "later").args(["test", "--workspace", "--no-fail-fast", "--locked"]),
        &mut tally,
    )?;
    progress.step("end-to-end tests in the bed");
    bed.up(&interrupt)?;
    run_tests(bed.exec().args(["--env", &format!("{IN_BED}=1"), "--"]).arg(suite), &mut tally)?;
    progress.step("done");
    print!("{tally}");
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds everything in one go: in several ones the features of shared packages differ, and those are built anew.
/// Says where the end-to-end suite is in the bed.
fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--bins", "--tests", "--locked"]);
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().during(|| "start cargo".to_owned())?;
    if !output.status.success() {
        return Err(Failure::new("the tests do not build; cargo's messages are above"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages.lines().filter_map(suite).next_back();
    let path = path.ok_or_else(|| Failure::new("cargo names no executable for the suite `bed`"))?;
    let below = path.strip_prefix(target()).map(PathBuf::from);
    below
        .map(|below| PathBuf::from(TARGET_IN_BED).join(below))
        .map_err(|_| Failure::new(format!("the suite `{}` is not in the target folder", path.display())))
}

/// The executable in cargo's message about the test target `bed`. Paths with quotes in them do not occur.
fn suite(message: &str) -> Option<PathBuf> {
    message.contains(r#""kind":["test"]"#).then_some(())?;
    message.contains(r#""name":"bed""#).then_some(())?;
    let (_, rest) = message.split_once(r#""executable":""#)?;
    Some(PathBuf::from(rest.split_once('"')?.0))
}

/// Runs a command that runs tests, shows its output as it comes, and adds up its result lines.
fn run_tests(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .during(|| format!("start `{}`", command.get_program().to_string_lossy()))?;
    let failed_before = tally.failed;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(std::result::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            tally.read(&line);
        }
    }
    let status = child.wait().during(|| "wait for the tests".to_owned())?;
    if !status.success() && tally.failed == failed_before {
        // It did not build, or died: that must not pass for a run without failures.
        return Err(Failure::new(format!("the tests ended without a count of failures ({status})")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::suite;
    use std::path::PathBuf;

    #[test]
    fn the_suite_is_found_in_cargos_messages() {
        let message = |kind: &str, name: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":"/t/debug/deps/bed-1"}}"#
            )
        };
        assert_eq!(suite(&message("test", "bed")), Some(PathBuf::from("/t/debug/deps/bed-1")));
        assert_eq!(suite(&message("bin", "bed")), None);
        assert_eq!(suite(&message("test", "http")), None);
    }
}
