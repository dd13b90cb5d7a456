//! Programs that a task runs to their end, with their last words when they fail.

use crate::failure::{During, Failure, Result};
use std::process::{Command, Output, Stdio};

/// Lines of output that a failure shows.
const TAIL: usize = 15;

/// Runs a program without input and gives what it wrote to stdout.
///
/// # Errors
/// The program can't be started, or ends with another status than 0; then with its last lines of output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = try_run(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut words = output.stdout;
    words.extend_from_slice(&output.stderr);
    let text = String::from_utf8_lossy(&words);
    Err(Failure::new(format!("`{}` failed ({})", quote(command), output.status)).with_output(tail(&text)))
}

/// As [`run`], but any end of the program is an answer.
pub(crate) fn try_run(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().during(|| format!("start `{}`", quote(command)))
}

/// The last lines of a text, without empty ones.
pub(crate) fn tail(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL)..].iter().map(|&line| line.to_owned()).collect()
}

/// A command line as a person would type it; long arguments are cut.
fn quote(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| {
            let word = word.to_string_lossy();
            let short: String = word.chars().take(120).collect();
            if short.is_empty() || short.contains([' ', '"', '$', '\n']) {
                format!("'{short}'")
            } else {
                short
            }
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{quote, run, tail};
    use std::process::Command;

    #[test]
    fn a_failure_shows_command_and_last_lines() {
        let failure = run(Command::new("sh").args(["-c", "echo first; echo last >&2; exit 3"])).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "`sh -c 'echo first; echo last >&2; exit 3'` failed (exit status: 3)"
        );
        assert!(format!("{failure:?}").contains(r#"output: ["first", "last"]"#), "{failure:?}");
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        let text: String = (0..40).map(|number| format!("{number}\n\n")).collect();
        let lines = tail(&text);
        assert_eq!((lines.len(), lines[0].as_str(), lines[14].as_str()), (15, "25", "39"));
    }

    #[test]
    fn empty_arguments_stay_visible() {
        assert_eq!(quote(Command::new("env").arg("").arg("a")), "env '' a");
    }
}
