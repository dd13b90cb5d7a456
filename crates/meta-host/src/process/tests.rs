//! Programs that misbehave in each way that we promise to survive.

use super::*;
use std::fs;

fn shell(script: &str) -> CommandLine {
    CommandLine::new("/bin/sh", ["-c", script])
}

const LONG: Duration = Duration::from_secs(60);

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn large_input_and_output_on_both_streams_do_not_hang() {
    let input = "0123456789abcde\n".repeat(20_000);
    let command = CommandLine { stdin: Some(input.clone()), ..shell("tee /dev/stderr; echo end") };
    let output = run(&command, LONG).unwrap();
    assert!(output.status.success() && !output.truncated);
    assert_eq!(output.stdout, format!("{input}end\n").as_bytes());
    assert_eq!(output.stderr, input.as_bytes());
}

#[test]
fn input_that_nobody_reads_is_dropped() {
    let command = CommandLine { stdin: Some("x".repeat(1 << 20)), ..shell("exec 0<&-; echo done; exit 3") };
    let output = run(&command, LONG).unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(3), b"done\n".to_vec()));
}

#[test]
fn endless_output_is_bounded_to_its_tail() {
    let output = run(&shell("head -c 20000000 /dev/zero; echo the end"), LONG).unwrap();
    assert!(output.truncated && output.stdout.len() == OUTPUT_LIMIT);
    assert!(output.stdout.ends_with(b"the end\n"));
}

#[test]
fn a_stream_without_end_does_not_keep_us_from_the_clock() {
    // What a program that writes faster than we read looks like.
    let mut capture = Capture { pipe: Some(io::repeat(b'x')), tail: Vec::new(), truncated: false };
    capture.read().unwrap();
    assert_eq!(capture.tail.len(), READS * (16 << 10));
}

#[test]
fn environment_and_directory_are_those_of_the_command() {
    let command = CommandLine {
        env: vec![("X".to_owned(), "1".to_owned())],
        clear_env: true,
        cwd: Some("/usr".into()),
        ..shell("echo $X $HOME; pwd; cat")
    };
    assert_eq!(run(&command, LONG).unwrap().stdout, b"1\n/usr\n");
}

#[test]
fn a_timeout_kills_a_grandchild_that_outlives_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let command = CommandLine {
        cwd: Some(dir.path().to_owned()),
        ..shell(
            "(trap '' TERM HUP; echo $$ said >&2; sh -c 'echo $PPID > pid'; while :; do sleep 1; done) & wait",
        )
    };
    let started = Instant::now();
    let error = run(&command, Duration::from_millis(500)).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(matches!(&error, ProcessError::TimedOut { output, .. } if output.ends_with("said")), "{error}");
    let pid = fs::read_to_string(pid_file).unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    while is_alive(&pid) {
        assert!(Instant::now() < patience, "process {pid} lives");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_may_leave_something_in_the_background() {
    let started = Instant::now();
    let output = run(&shell("sleep 5 & echo $!"), LONG).unwrap();
    assert!(started.elapsed() < Duration::from_secs(4));
    let pid = String::from_utf8(output.stdout).unwrap();
    assert!(is_alive(&pid));
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn failures_show_the_command_and_what_it_said() {
    let command = shell("echo first >&2; echo 'it is full' >&2; exit 7");
    let error = run(&command, LONG).unwrap().require_success(&command).unwrap_err();
    assert_eq!(error.to_string(), format!("`{command}` ended with exit code 7\n  | first\n  | it is full"));
    let command = shell("kill -9 $$");
    let error = run(&command, LONG).unwrap().require_success(&command).unwrap_err();
    assert_eq!(error.to_string(), "`/bin/sh -c 'kill -9 $$'` was ended by signal 9");
}

#[test]
fn a_missing_program_is_named() {
    let error = run(&CommandLine::new("/nonexistent/sbatch", ["--parsable"]), LONG).unwrap_err();
    let expected = "error: cannot start `/nonexistent/sbatch --parsable`\n\
                    caused by: No such file or directory (os error 2)";
    assert_eq!(error.report(), expected);
}
