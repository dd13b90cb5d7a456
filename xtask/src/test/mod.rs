//! `cargo xtask test`: every test there is, with one closing line that counts them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

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

/// How long the output of a program of tests may stay open after its end.
const LEFT_OPEN: Duration = Duration::from_secs(10);

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
        LEFT_OPEN,
    )?;
    progress.step("end-to-end tests in the bed");
    bed.up(&interrupt)?;
    run_tests(bed.exec().args(["--env", &format!("{IN_BED}=1"), "--"]).arg(suite), &mut tally, LEFT_OPEN)?;
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
///
/// Fails if the output is still open `left_open` after the command's end: a test has left a process behind.
fn run_tests(command: &mut Command, tally: &mut Tally, left_open: Duration) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .during(|| format!("start `{}`", command.get_program().to_string_lossy()))?;
    let output = child.stdout.take();
    let failed_before = tally.failed;
    let (sender, lines) = mpsc::channel();
    // A thread, since reading has no time limit. It ends with the output, or with this program.
    thread::spawn(move || {
        let output = output.into_iter().map(BufReader::new);
        let mut lines = output.flat_map(|output| output.split(b'\n')).map_while(std::result::Result::ok);
        lines.try_for_each(|line| sender.send(line))
    });
    let status = loop {
        match lines.recv_timeout(left_open) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                tally.read(&line);
            }
            Err(RecvTimeoutError::Disconnected) => {
                break child.wait().during(|| "wait for the tests".to_owned())?;
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait().during(|| "wait for the tests".to_owned())? {
                    return Err(Failure::new(format!(
                        "the tests ended ({status}), but a process that one of them left behind holds their output open"
                    )));
                }
            }
        }
    };
    if !status.success() && tally.failed == failed_before {
        // It did not build, or died: that must not pass for a run without failures.
        return Err(Failure::new(format!("the tests ended without a count of failures ({status})")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Tally, run_tests, suite};
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Duration;

    fn run(script: &str, left_open: Duration) -> (Result<(), String>, Tally) {
        let mut tally = Tally::default();
        let result = run_tests(Command::new("sh").args(["-c", script]), &mut tally, left_open);
        (result.map_err(|failure| failure.to_string()), tally)
    }

    #[test]
    fn what_tests_print_is_counted() {
        let (result, tally) = run("echo 'test result: ok. 2 passed; 0 failed'", Duration::from_secs(60));
        assert_eq!(result, Ok(()));
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 0 skipped\n");
    }

    #[test]
    fn tests_that_die_have_not_passed() {
        let (result, _) = run("exit 7", Duration::from_secs(60));
        assert_eq!(result, Err("the tests ended without a count of failures (exit status: 7)".to_owned()));
    }

    #[test]
    fn a_process_that_tests_leave_behind_is_a_failure_and_does_not_hang() {
        // The one that is left behind ends when the file is gone.
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let script = format!("while [ -e {path} ]; do sleep 0.1; done & exit 0");
        let (result, _) = run(&script, Duration::from_millis(200));
        assert_eq!(
            result,
            Err("the tests ended (exit status: 0), but a process that one of them left behind holds their output open"
                .to_owned())
        );
    }

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
