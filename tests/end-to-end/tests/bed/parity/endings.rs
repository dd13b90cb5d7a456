//! Cancel, timeouts and aborts.

use std::time::Duration;

use end_to_end::parity::{Place, Row, RunningJob};
use end_to_end::processes::{wait_until, with_mark};
use nix::sys::signal::Signal;

pub(super) const ROWS: &[Row] = &[
    Row::play("TestDockerCommandBuildCancel", cancel),
    Row::play("TestDockerCommandNoScriptBodyLeakOnCancel", no_script_in_the_log),
    Row::play("TestDockerBuildContainerGracefulShutdownNoInit", graceful),
    Row::play("TestDockerBuildContainerGracefulShutdownWithInit", graceful_with_init),
    Row::play("Test_FF_USE_NATIVE_CONTAINER_STOP", term_at_the_shell),
    Row::play("endings: RUNNER_SCRIPT_TIMEOUT and RUNNER_AFTER_SCRIPT_TIMEOUT", script_timeouts),
    Row::play("endings: the job's timeout", job_timeout),
    Row::play("endings: SIGTERM to gitlab-runner", terminated_runner),
    Row::play("endings: SIGKILL to gitlab-runner", killed_runner),
];

/// Wide: the rule is 5 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Each row has a mark of its own at each level, so that its processes can be told from others.
fn mark(place: &Place, number: u32) -> u32 {
    810_000 + number * 10 + u32::from(place.level().as_bytes()[0])
}

/// A script that prints and never ends. GitLab's answer to what it prints is how gitlab-runner learns of a cancel.
fn endless(mark: u32) -> String {
    format!("sleep {mark} & while true; do echo tick; sleep 1; done")
}

fn nothing_is_left(mark: u32) {
    wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
}

fn cancel(place: &Place) {
    let mark = mark(place, 1);
    let job = place.start(&format!(
        "script: ['{}']\nafter_script: [echo after the cancel, 'echo $CI_JOB_STATUS']",
        endless(mark)
    ));
    job.wait_for("tick").cancel();
    job.end().is_canceled().says("after the cancel").says("canceled").hides("the job was stopped");
    nothing_is_left(mark);
}

fn no_script_in_the_log(place: &Place) {
    let mark = mark(place, 2);
    let job =
        place.start(&format!("image: registry/debian:sid\nscript: [\"SECRET_PART=1; {}\"]", endless(mark)));
    job.wait_for("tick").cancel();
    let ran = job.end().is_canceled();
    // Once: as the echo of the command.
    assert_eq!(ran.log.matches("SECRET_PART").count(), 1, "{ran}");
    nothing_is_left(mark);
}

/// A grandchild that ends in its own way when it is told to, and shows it in the log and in the cache.
fn with_cleanup(place: &Place, more: &str, number: u32) -> (String, u32) {
    let mark = mark(place, number);
    let job = format!(
        r#"
variables: {{{more}}}
script:
  - |
    cat > long.sh <<'END'
    trap 'echo Caught SIGTERM; echo caught 2>/dev/null > /cache/caught; sleep 0.2; echo Exiting; exit 1' TERM
    echo Starting; sleep {mark} & while true; do echo tick; sleep 0.5; done
    END
  - rm -f /cache/caught
  - sh long.sh"#
    );
    (job, mark)
}

fn graceful(place: &Place) {
    shuts_down(place, "", 30);
}

fn graceful_with_init(place: &Place) {
    shuts_down(place, "FF_USE_INIT_WITH_DOCKER_EXECUTOR: 'true'", 40);
}

fn shuts_down(place: &Place, flags: &str, number: u32) {
    let comma = if flags.is_empty() { "" } else { ", " };
    let (job, mark) = with_cleanup(place, &format!("RUNNER_SCRIPT_TIMEOUT: 3s{comma}{flags}"), number);
    place.job(&job).fails_as("job_execution_timeout").says("Starting").says("Caught SIGTERM").says("Exiting");
    nothing_is_left(mark);

    let (job, mark) = with_cleanup(place, flags, number + 1);
    let running = place.start(&job);
    running.wait_for("tick").cancel();
    running.end().is_canceled().says("Caught SIGTERM").says("Exiting");
    nothing_is_left(mark);

    let (job, mark) = with_cleanup(place, flags, number + 2);
    let running = place.start(&job);
    running.wait_for("tick").force_cancel();
    // GitLab takes no more log after an abort; the cache shows it.
    running.end().is_canceled();
    nothing_is_left(mark);
    // At level C the cache has another path.
    if place.level() != "C" {
        place.job("script: [cat /cache/caught]").passes().says("caught");
    }
}

fn term_at_the_shell(place: &Place) {
    let mark = mark(place, 50);
    let script = format!(
        "trap \"echo SHELL_GOT_TERM; exit 0\" TERM; sleep {mark} & while true; do echo tick; sleep 1; done"
    );
    let job = |more: &str| {
        format!("variables: {{FF_USE_NATIVE_CONTAINER_STOP: 'true'{more}}}\nscript: ['{script}']")
    };
    let ended = |running: RunningJob<'_>| {
        running.wait_for("tick").cancel();
        running.end().is_canceled().says("SHELL_GOT_TERM");
    };
    ended(place.start(&job("")));
    place.job(&job(", RUNNER_SCRIPT_TIMEOUT: 3s")).fails_as("job_execution_timeout").says("SHELL_GOT_TERM");
    nothing_is_left(mark);
}

fn script_timeouts(place: &Place) {
    let mark = mark(place, 60);
    let job = |more: &str| {
        format!(
            "variables: {{RUNNER_SCRIPT_TIMEOUT: 2s{more}}}\nscript: [sleep {mark}]\nafter_script: [echo after, sleep {}]",
            mark % 2
        )
    };
    place.job(&job("")).fails_as("job_execution_timeout").says("after").hides("the job was stopped");
    let after = format!(
        "variables: {{RUNNER_AFTER_SCRIPT_TIMEOUT: 2s}}\nscript: [\"true\"]\nafter_script: [sleep {mark}, echo not reached]"
    );
    place.job(&after).passes().hides("not reached\n");
    nothing_is_left(mark);
}

fn job_timeout(place: &Place) {
    let mark = mark(place, 70);
    let job =
        format!("timeout: 8 seconds\nscript: [echo begun, sleep {mark}]\nafter_script: [echo not reached]");
    place
        .job(&job)
        .fails_as("job_execution_timeout")
        .says("begun")
        .shows("execution took longer than 8s seconds")
        .hides("not reached\n");
    nothing_is_left(mark);
}

fn terminated_runner(place: &Place) {
    let mark = mark(place, 80);
    let running = place.start(&format!("script: ['{}']", endless(mark)));
    running.wait_for("tick").signal(Signal::SIGTERM);
    running.end().fails_as("runner_interrupted");
    nothing_is_left(mark);
}

/// On a site of its own, where everything that is left can be seen.
fn killed_runner(place: &Place) {
    let mark = mark(place, 90);
    let place = place.with_executor("");
    let running = place.start(&format!("script: ['{}']", endless(mark)));
    running.wait_for("tick").signal(Signal::SIGKILL);
    running.end();
    nothing_is_left(mark);
    assert!(!place.site().jobs_left().is_empty(), "nobody was there to clean up");
    place.job("script: [echo next]").passes();
    assert_eq!(place.site().jobs_left(), Vec::<std::path::PathBuf>::new());
}
