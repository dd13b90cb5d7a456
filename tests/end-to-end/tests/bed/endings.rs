//! How jobs end, and what is left of them: nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use end_to_end::bed::image;
use end_to_end::executor::Site;
use end_to_end::processes::{LIMIT, wait_until, with_mark};
use serde_json::json;

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("endings: SIGTERM reaches the script and ends everything", terminate),
    ("endings: SIGKILL of the driver ends everything", kill),
    ("endings: the end of gitlab-runner ends everything", orphan),
    ("endings: a daemon that is left behind does not hold the job", daemon),
    ("endings: cleanup removes files of any owner and mode, twice", cleanup),
    ("endings: cleanup without a prepared job", cleanup_of_nothing),
    ("endings: after a stop, after_script starts from the image", fresh_layer),
    ("endings: the next job removes what a dead one left", sweep),
];

fn site(level: &str) -> Site {
    Site::new(&format!("level = \"{level}\""))
}

/// A script with a child that ignores SIGTERM in a session of its own; `seconds` makes its processes findable.
fn stubborn(seconds: u32) -> String {
    format!(
        "trap 'echo term > /builds/got; exit 7' TERM\n(setsid sh -c 'trap \"\" TERM; sleep {seconds}' &)\nsleep {seconds} & wait\n"
    )
}

fn terminate(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let mark = if level == "A" { 700_101 } else { 700_102 };
    let mut child = job.start("build_script", &stubborn(mark));
    wait_until("the script runs", LIMIT, || with_mark(&format!("sleep {mark}")).len() >= 3);
    signal("-TERM", &format!("-{}", child.id()));
    child.wait().expect("the driver is our child");
    wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
    assert_eq!(job.run("after_script", "cat /builds/got").success(), "term\n");
}

fn kill(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let mark = if level == "A" { 700_201 } else { 700_202 };
    let mut child = job.start("build_script", &stubborn(mark));
    wait_until("the script runs", LIMIT, || with_mark(&format!("sleep {mark}")).len() >= 3);
    child.kill().expect("the driver is our child");
    child.wait().expect("the driver is our child");
    wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn orphan(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let mark = if level == "A" { 700_301 } else { 700_302 };
    let script = site.path().join("stubborn.sh");
    fs::write(&script, stubborn(mark)).expect("the site is writable");
    let run = job.command(&["run", &script.display().to_string(), "build_script"]);
    // A parent that can be killed, in gitlab-runner's place.
    let mut parent = Command::new("sh");
    parent.args(["-c", "\"$@\"; true", "sh"]).arg(run.get_program()).args(run.get_args());
    parent.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut parent = parent.spawn().expect("sh starts");
    wait_until("the script runs", LIMIT, || with_mark(&format!("sleep {mark}")).len() >= 3);
    parent.kill().expect("the parent is our child");
    parent.wait().expect("the parent is our child");
    wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
}

fn daemon(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let mark = if level == "A" { 700_401 } else { 700_402 };
    // The daemon keeps stdout open: were it alive, this call would not return.
    job.run("build_script", &format!("(setsid sleep {mark} &); sleep {mark} & echo end")).success();
    assert_eq!(with_mark(&format!("sleep {mark}")), Vec::<u32>::new());
}

fn cleanup(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let odd = "mkdir -p /builds/a/b /odd; touch /builds/a/b/c /odd/f; chown -R 1234:1234 /builds/a /odd 2>/dev/null; chmod 000 /builds/a/b /builds/a /odd";
    job.run("build_script", odd).success();
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    job.cleanup().success();
}

/// As with docker, which removes the container of a script that was cancelled.
fn fresh_layer(level: &str) {
    let site = site(level);
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    job.run("build_script", "touch /kept").success();
    let mark = if level == "A" { 700_501 } else { 700_502 };
    let mut child = job.start("build_script", &format!("touch /dropped; sleep {mark}"));
    wait_until("the script runs", LIMIT, || !with_mark(&format!("sleep {mark}")).is_empty());
    signal("-TERM", &format!("-{}", child.id()));
    child.wait().expect("the driver is our child");
    assert_eq!(job.run("after_script", "ls /kept /dropped 2>/dev/null; touch /new").success(), "");
    assert_eq!(job.run("after_script", "ls /new").success(), "/new\n");
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn cleanup_of_nothing(level: &str) {
    let site = site(level);
    site.job(&image("busybox:latest"), json!({})).cleanup().success();
}

fn sweep(level: &str) {
    let site = site(level);
    let dead = site.job(&image("debian:sid"), json!({})).prepared();
    dead.run("build_script", "mkdir /builds/x; chmod 000 /builds/x").success();
    // As if gitlab-runner had died: the process that prepared the job has another start time.
    let state = site
        .jobs_left()
        .into_iter()
        .map(|job| job.join("job.json"))
        .find(|file| file.exists())
        .expect("a job");
    let text = fs::read_to_string(&state).expect("the state is ours");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("the state is JSON");
    value["owner"]["started"] = json!(1);
    fs::write(&state, value.to_string()).expect("the state is ours");
    let next = site.job(&image("busybox:latest"), json!({})).prepared();
    assert!(!state.exists(), "{}", state.display());
    next.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn signal(signal: &str, target: &str) {
    let status = Command::new("kill").args([signal, "--", target]).status().expect("kill starts");
    assert!(status.success(), "kill {signal} {target}");
}
