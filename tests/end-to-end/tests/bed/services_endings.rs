//! How services end: with their job, whatever happens to it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use end_to_end::bed::image;
use end_to_end::cluster::{Cluster, PROJECT};
use end_to_end::executor::{SYSTEM_FAILURE, Site};
use end_to_end::processes::{wait_until, with_mark};
use serde_json::{Value, json};

use crate::services::site;
use crate::{LevelTest, Test};

pub(crate) const TESTS: &[LevelTest] = &[
    ("services end: with cleanup, after success and after failure", cleanup),
    ("services end: SIGTERM to a prepare that waits for them", terminated_prepare),
    ("services end: SIGKILL to prepare", killed_prepare),
    ("services end: a preparation that fails later", failed_prepare),
    ("services end: the end of gitlab-runner", ended_runner),
    ("services end: the end of the process that keeps them", killed_keeper),
    ("services end: the end of the process that watches gitlab-runner", killed_guard),
    ("services end: with the allocation", allocation),
];

pub(crate) const TESTS_AT_A: &[Test] = &[("services end: with the time of the allocation", walltime)];

/// Wide: it is a matter of milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// Two services whose processes can be found; they ignore SIGTERM, and one leaves a daemon in a session of its own.
fn stubborn(mark: u32) -> Value {
    let service = |alias: &str| {
        let script = format!("trap '' TERM; setsid sleep {mark} & sleep {mark} & wait");
        json!({ "name": image("busybox"), "alias": alias, "command": ["sh", "-c", script] })
    };
    json!({ "services": [service("one"), service("two")] })
}

/// Waits long for a port that never opens.
fn waiting(mark: u32) -> Value {
    let mut job = stubborn(mark);
    job["services"][0]["variables"] = json!([{ "key": "HEALTHCHECK_TCP_PORT", "value": "4711" }]);
    job
}

fn mark(level: &str, number: u32) -> u32 {
    720_000 + number * 10 + u32::from(level == "A")
}

fn running(mark: u32) -> usize {
    with_mark(&format!("sleep {mark}")).len()
}

/// Two processes each, beside their shells.
fn they_run(mark: u32) {
    wait_until("the services run", LIMIT, || running(mark) >= 4);
}

fn nothing_is_left(mark: u32) {
    wait_until("all processes are gone", LIMIT, || running(mark) == 0);
}

fn cleanup(level: &str) {
    let mark = mark(level, 1);
    let site = site(level, "");
    for code in [0, 3] {
        let job = site.job(&image("busybox"), stubborn(mark)).prepared();
        they_run(mark);
        let ended = job.run("build_script", &format!("exit {code}"));
        assert_eq!(ended.script_code, (code != 0).then(|| code.to_string()), "{}", ended.log);
        assert!(running(mark) >= 2, "services last until the job's end");
        job.cleanup().success();
        assert_eq!(running(mark), 0, "cleanup waits for their end");
        assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    }
}

fn terminated_prepare(level: &str) {
    ended_prepare(level, mark(level, 2), "-TERM");
}

fn killed_prepare(level: &str) {
    ended_prepare(level, mark(level, 3), "-KILL");
}

fn ended_prepare(level: &str, mark: u32, signal: &str) {
    let site = site(level, "wait_for_services_timeout = 600");
    let job = site.job(&image("busybox"), waiting(mark));
    let mut prepare = job.command(&["prepare"]);
    let mut prepare = prepare.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("prepare starts");
    they_run(mark);
    kill(signal, &prepare.id().to_string());
    prepare.wait().expect("prepare is our child");
    nothing_is_left(mark);
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn failed_prepare(level: &str) {
    let mark = mark(level, 4);
    let site = site(level, "");
    let job = site.job(&image("no-such-image"), stubborn(mark));
    assert_ne!(job.prepare().code, 0);
    nothing_is_left(mark);
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn ended_runner(level: &str) {
    let mark = mark(level, 5);
    let site = site(level, "");
    let job = site.job(&image("busybox"), stubborn(mark));
    // Somebody in gitlab-runner's place who can be killed. It waits without a child of its own, which would outlive it.
    let prepare = job.command(&["prepare"]);
    let mut runner = Command::new("sh");
    runner
        .args(["-c", "\"$@\" </dev/null >/dev/null 2>&1; read -r _", "sh"])
        .stdin(Stdio::piped())
        .arg(prepare.get_program())
        .args(prepare.get_args());
    runner.envs(prepare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut runner = runner.spawn().expect("sh starts");
    wait_until("the job is prepared", LIMIT, || job_state(&site).is_some());
    they_run(mark);
    runner.kill().expect("the runner is our child");
    runner.wait().expect("the runner is our child");
    nothing_is_left(mark);
    // The next job on the node removes the rest.
    let next = site.job(&image("busybox"), json!({})).prepared();
    next.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn killed_keeper(level: &str) {
    let mark = mark(level, 6);
    let site = site(level, "");
    let job = site.job(&image("busybox"), stubborn(mark)).prepared();
    let keeper = holder(&site)["keeper"]["pid"].as_i64().expect("the keeper has a pid");
    kill("-KILL", &keeper.to_string());
    nothing_is_left(mark);
    job.run("build_script", "true").failed(SYSTEM_FAILURE, "the job's services and its network are gone");
    job.run("get_sources", "echo helper stages need none of it").success();
    job.cleanup().success();
}

/// The keeper's parent. Without it nobody would notice the end of gitlab-runner.
fn killed_guard(level: &str) {
    let mark = mark(level, 8);
    let site = site(level, "");
    let job = site.job(&image("busybox"), stubborn(mark)).prepared();
    let keeper = holder(&site)["keeper"]["pid"].as_i64().expect("the keeper has a pid");
    let status = fs::read_to_string(format!("/proc/{keeper}/status")).expect("the keeper runs");
    let guard = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has a parent");
    kill("-KILL", guard.trim());
    nothing_is_left(mark);
    job.run("build_script", "true").failed(SYSTEM_FAILURE, "the job's services and its network are gone");
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

/// The same job through GitLab; its script sleeps, too.
fn enqueue(cluster: &Cluster, mut job: Value, mark: u32) {
    for (key, value) in [
        ("image", json!(image("busybox"))),
        ("script", json!([format!("sleep {mark}")])),
        ("variables", json!({ "GIT_STRATEGY": "none" })),
    ] {
        job[key] = value;
    }
    cluster.gitlab.enqueue(PROJECT, job);
}

fn allocation(level: &str) {
    let mark = mark(level, 7);
    let cluster = Cluster::new(&format!("level = \"{level}\""));
    enqueue(&cluster, stubborn(mark), mark);
    let batch_job = cluster.submit(1, &[]);
    wait_until("the script runs", Duration::from_secs(60), || running(mark) >= 5);
    // What Slurm does to a job at the end of its time, without the patience before.
    let status = Command::new("scancel").args(["--full", "--signal=KILL", &batch_job]).status();
    assert!(status.expect("scancel starts").success());
    nothing_is_left(mark);
}

/// By Slurm's own clock: a minute is the shortest time that can be asked for. With services and without, side by side.
fn walltime() {
    let [with, without] = [720_091, 720_092];
    let clusters = [(with, stubborn(with), 5), (without, json!({}), 1)].map(|(mark, job, processes)| {
        let cluster = Cluster::new("level = \"A\"");
        enqueue(&cluster, job, mark);
        let batch_job = cluster.submit(1, &["--time=1"]);
        (cluster, batch_job, mark, processes)
    });
    for (_, _, mark, processes) in &clusters {
        wait_until("the script runs", Duration::from_secs(60), || running(*mark) >= *processes);
    }
    for (cluster, batch_job, mark, _) in &clusters {
        let state = || {
            let output = Command::new("scontrol").args(["--oneliner", "show", "job", batch_job]).output();
            String::from_utf8_lossy(&output.expect("scontrol starts").stdout).into_owned()
        };
        // Slurm looks for jobs that are over their time every 30 s.
        wait_until("the time is over", Duration::from_secs(240), || state().contains("JobState=TIMEOUT"));
        nothing_is_left(*mark);
        // While gitlab-runner lives, what is left of its job is its own.
        let config = cluster.site.data_dir().display().to_string();
        wait_until("gitlab-runner is gone", Duration::from_secs(120), || with_mark(&config).is_empty());
        // The next job on the node removes the rest.
        cluster.site.job(&image("busybox"), json!({})).prepared().cleanup().success();
        assert_eq!(cluster.site.jobs_left(), Vec::<PathBuf>::new());
    }
}

fn job_state(site: &Site) -> Option<PathBuf> {
    site.jobs_left().into_iter().map(|job| job.join("job.json")).find(|file| file.exists())
}

fn holder(site: &Site) -> Value {
    let job = site
        .jobs_left()
        .into_iter()
        .find(|job| job.join("holder.json").exists())
        .expect("a job with a holder");
    let text = fs::read_to_string(job.join("holder.json")).expect("the record is ours");
    serde_json::from_str(&text).expect("the record is JSON")
}

fn kill(signal: &str, pid: &str) {
    let status = Command::new("kill").args([signal, pid]).status().expect("kill starts");
    assert!(status.success(), "kill {signal} {pid}");
}
