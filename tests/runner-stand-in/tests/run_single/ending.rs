//! How jobs and run-single end: cancellation, signals, timeouts, limits.

use std::collections::VecDeque;
use std::process::Child;

use crate::support::{PLAIN_DRIVER, Sandbox, job, readable, set, wait_for};
use serde_json::json;

/// Prints while it waits, and leaves a mark when it is terminated.
const ENDLESS: &str =
    "trap 'echo terminated >> $SANDBOX/mark; exit 1' TERM; while :; do echo tick; sleep 0.1; done";

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

fn endless_job() -> serde_json::Value {
    let mut job = job(7, &[ENDLESS]);
    job["steps"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "after_script", "script": ["echo after $CI_JOB_STATUS"]}));
    job
}

#[test]
fn canceling_stops_the_script_and_runs_after_script() {
    let sandbox = Sandbox::with_driver(vec![endless_job()], PLAIN_DRIVER, "graceful_kill_timeout = 5");
    let child = sandbox.start(&["--max-builds", "1"]);
    wait_for("the script", || sandbox.read("calls").contains("build_script"));
    sandbox.server.state().job_status = "canceling".to_owned();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let log = readable(&sandbox.server.log());
    assert!(log.contains("WARNING: script canceled externally (UI, API)"), "{log}");
    assert!(log.contains("after canceled\n"), "{log}");
    assert!(log.ends_with("ERROR: Job failed: canceled\n"), "{log}");
    assert_eq!(sandbox.read("mark"), "terminated\n");
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "unknown_failure".into(), 0));
}

#[test]
fn canceled_aborts_at_once() {
    let sandbox = Sandbox::with_driver(vec![endless_job()], PLAIN_DRIVER, "graceful_kill_timeout = 5");
    let child = sandbox.start(&["--max-builds", "1"]);
    wait_for("the script", || sandbox.read("calls").contains("build_script"));
    sandbox.server.state().job_status = "canceled".to_owned();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(sandbox.calls().last().unwrap(), "cleanup");
    assert!(!sandbox.read("calls").contains("after_script"));
}

#[test]
fn a_lost_job_is_not_started() {
    let sandbox = Sandbox::with_driver(vec![job(7, &["true"])], PLAIN_DRIVER, "");
    sandbox.server.state().scripted.insert("PUT", VecDeque::from([(403, Vec::new())]));
    sandbox.run(0);
    assert_eq!(sandbox.calls(), Vec::<String>::new());
    assert_eq!(sandbox.server.state().updates.len(), 1);
}

#[test]
fn sigterm_aborts_the_job_and_cleans_up() {
    let sandbox = Sandbox::with_driver(vec![endless_job()], PLAIN_DRIVER, "graceful_kill_timeout = 5");
    let child = sandbox.start(&[]);
    wait_for("the script", || sandbox.read("calls").contains("build_script"));
    signal(&child, rustix::process::Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = readable(&sandbox.server.log());
    assert!(log.ends_with("ERROR: Job failed: aborted: terminated\n"), "{log}");
    assert_eq!(sandbox.calls().last().unwrap(), "cleanup");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_second_signal_ends_the_runner_at_once() {
    let stubborn =
        "trap '' TERM; until [ -e $SANDBOX/stop ]; do sleep 0.1; done; echo over > $SANDBOX/stopped";
    let sandbox =
        Sandbox::with_driver(vec![job(7, &[stubborn])], &format!("trap '' TERM\n{PLAIN_DRIVER}"), "");
    let child = sandbox.start(&[]);
    wait_for("the script", || sandbox.read("calls").contains("build_script"));
    signal(&child, rustix::process::Signal::INT);
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(&child, rustix::process::Signal::TERM);
    let output = child.wait_with_output().unwrap();
    sandbox.write("stop", "");
    // Nobody ends the script for us: with the sandbox gone it would wait for ever.
    wait_for("the script's end", || sandbox.read("stopped") == "over\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("FATAL: forced exit: terminated"));
}

#[test]
fn sigquit_finishes_the_job_at_hand() {
    let jobs = vec![job(7, &["while [ ! -e $SANDBOX/go ]; do sleep 0.05; done"]), job(8, &["true"])];
    let sandbox = Sandbox::with_driver(jobs, PLAIN_DRIVER, "");
    let child = sandbox.start(&[]);
    wait_for("the script", || sandbox.read("calls").contains("build_script"));
    signal(&child, rustix::process::Signal::QUIT);
    std::thread::sleep(std::time::Duration::from_millis(200));
    sandbox.write("go", "");
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(sandbox.server.outcome(), ("success".into(), String::new(), 0));
    assert_eq!(sandbox.server.state().jobs.len(), 1);
}

#[test]
fn the_jobs_timeout_ends_it() {
    let mut job = endless_job();
    job["runner_info"]["timeout"] = json!(2);
    let sandbox = Sandbox::with_driver(vec![job], PLAIN_DRIVER, "graceful_kill_timeout = 5");
    sandbox.run(1);
    let log = readable(&sandbox.server.log());
    assert!(log.ends_with("ERROR: Job failed: execution took longer than 2s seconds\n"), "{log}");
    assert!(!sandbox.read("calls").contains("after_script"));
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "job_execution_timeout".into(), 0));
}

#[test]
fn the_scripts_own_timeout_leaves_time_for_after_script() {
    let mut job = endless_job();
    set(&mut job, "RUNNER_SCRIPT_TIMEOUT", "1s");
    let sandbox = Sandbox::with_driver(vec![job], PLAIN_DRIVER, "graceful_kill_timeout = 5");
    sandbox.run(1);
    let log = readable(&sandbox.server.log());
    assert!(
        log.contains("step_script could not run to completion because the timeout was exceeded."),
        "{log}"
    );
    assert!(log.contains("after timedout\n"), "{log}");
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "job_execution_timeout".into(), 0));
}

#[test]
fn without_jobs_the_wait_ends_and_that_is_no_failure() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let log = sandbox.run(1);
    assert!(log.contains("This runner has not received a job in 1 seconds, so now exiting"), "{log}");
}

#[test]
fn a_refused_token_is_slept_over() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    sandbox.server.state().scripted.insert("POST", VecDeque::from([(403, Vec::new())]));
    let mut child = sandbox.start(&["--wait-timeout", "1"]);
    wait_for("the poll", || !sandbox.server.state().calls.is_empty());
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "it must sleep for 300 s");
    signal(&child, rustix::process::Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("Runner is not healthy!"));
    assert_eq!(sandbox.server.state().calls.len(), 1);
}

#[test]
fn the_final_update_is_repeated_until_it_is_taken() {
    let sandbox = Sandbox::with_driver(vec![job(7, &["echo once"])], PLAIN_DRIVER, "");
    let interval = || vec![("X-GitLab-Trace-Update-Interval", "1".to_owned())];
    let answers = VecDeque::from([(200, Vec::new()), (202, interval()), (412, interval())]);
    sandbox.server.state().scripted.insert("PUT", answers);
    sandbox.run(1);
    let states: Vec<String> = sandbox
        .server
        .state()
        .updates
        .iter()
        .map(|(_, body)| body["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["running", "success", "success", "success"]);
    // After the 412 the log came once more, from its start.
    let patches = sandbox.server.state().calls.iter().filter(|call| call.starts_with("PATCH")).count();
    assert_eq!(patches, 2);
    assert_eq!(sandbox.server.log().matches("\x1b[32;1m$ echo once").count(), 1);
}

#[test]
fn bad_arguments_end_with_1() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let fails = |arguments: &[&str], message: &str| {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_gitlab-runner"));
        let output = command.arg("run-single").args(arguments).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(message), "{log}");
    };
    fails(&["-c", "config.toml", "-r", "other"], "could not find a runner with the name 'other'");
    fails(&["--url", "http://h", "--executor", "custom"], "Missing Token");
    fails(&["--url", "http://h", "--token", "t", "--executor", "docker"], "Unknown executor: docker");
}
