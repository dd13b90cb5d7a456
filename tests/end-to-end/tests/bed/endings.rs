//! How jobs end, and what is left of them: nothing.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE, Site};
use end_to_end::processes::{LIMIT, send, wait_until, with_mark};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::json;

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("endings: SIGTERM reaches the script and ends everything", terminate),
    ("endings: a stop by gitlab-runner is the script's end by SIGTERM, as in docker", stop_by_the_runner),
    ("endings: SIGKILL of the driver ends everything", kill),
    ("endings: the end of gitlab-runner ends everything", orphan),
    ("endings: a daemon that is left behind does not hold the job", daemon),
    ("endings: cleanup removes files of any owner and mode, twice", cleanup),
    ("endings: what cleanup cannot remove stays the job's", refused_cleanup),
    ("endings: cleanup without a prepared job", cleanup_of_nothing),
    ("endings: after a stop, after_script starts from the image", fresh_layer),
    ("endings: cleanup beside a script that does not end", cleanup_beside_a_run),
    ("endings: no link is followed when a job is removed", links),
    ("endings: the batch system ends the allocation", batch_system),
    ("endings: the next job removes what a dead one left", sweep),
];

fn site(level: &str) -> Site {
    Site::new(&format!("level = \"{level}\""))
}

/// A script with a child that ignores SIGTERM in a session of its own; `seconds` makes its processes findable.
fn stubborn(seconds: u32) -> String {
    format!(
        "trap 'echo term >> /builds/got; sleep 0.2; exit 7' TERM\n(setsid sh -c 'trap \"\" TERM; sleep {seconds}' &)\nsleep {seconds} & wait\n"
    )
}

fn terminate(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let mark = if level == "A" { 700_101 } else { 700_102 };
    let script = job.script(&stubborn(mark));
    let mut run = job.command(&["run", &script, "build_script"]);
    let run = run.process_group(0).stdout(Stdio::piped()).spawn().expect("meta-executor starts");
    wait_until("the script runs", LIMIT, || with_mark(&format!("sleep {mark}")).len() >= 3);
    send("TERM", &format!("-{}", run.id()));
    let output = run.wait_with_output().expect("the driver is our child");
    // `send` is not the driver's parent: a signal of gitlab-runner's own needs no words.
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(log.contains("ERROR: the job was stopped\nhint: the allocation has come to its end"), "{log}");
    wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
    assert_eq!(job.run("after_script", "cat /builds/got").success(), "term\n");
}

/// A cancel, a timeout, or an after_script that took too long: only in the last case gitlab-runner looks at the code.
fn stop_by_the_runner(level: &str) {
    let site = site(level);
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let mark = if level == "A" { 700_111 } else { 700_112 };
    let script = job.script(&format!("sleep {mark}"));
    let mut run = job.command(&["run", &script, "after_script"]);
    let run = run.process_group(0).stdout(Stdio::piped()).spawn().expect("meta-executor starts");
    wait_until("the script runs", LIMIT, || !with_mark(&format!("sleep {mark}")).is_empty());
    let pid = i32::try_from(run.id()).expect("the kernel's numbers are small");
    signal::kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the driver is our child");
    let output = run.wait_with_output().expect("the driver is our child");
    let code = fs::read_to_string(job.exit_code_file()).expect("a script's end has a code");
    assert_eq!((output.status.code(), code.as_str()), (Some(BUILD_FAILURE), "143"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
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
    let deep = "p=$(printf 'd/%.0s' $(seq 500)); cd /builds; for i in 1 2 3; do mkdir -p $p; cd $p; done";
    job.run("build_script", deep).success();
    let odd = "mkdir -p /builds/a/b /odd; touch /builds/a/b/c /odd/f; chown -R 1234:1234 /builds/a /odd 2>/dev/null; chmod 000 /builds/a/b /builds/a /odd";
    job.run("build_script", odd).success();
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    job.cleanup().success();
}

/// The next job's sweep finds it by its owner.
fn refused_cleanup(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    job.run("build_script", "mkdir -p /builds/a/b; chown -R 1234:1234 /builds/a || true").success();
    let output =
        job.command(&["cleanup"]).env("PATH", "/nonexistent").output().expect("meta-executor starts");
    if level == "A" {
        assert_eq!(output.status.code(), Some(SYSTEM_FAILURE));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("cannot start `newuidmap`"), "{message}");
        let left = site.jobs_left();
        assert!(left.len() == 1 && left[0].join("owner.json").exists(), "{left:?}");
    } else {
        // There is one id only: nothing is refused.
        assert_eq!(output.status.code(), Some(0));
    }
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

/// As with docker, which removes the container of a script that was cancelled.
fn fresh_layer(level: &str) {
    let site = site(level);
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    job.run("build_script", "touch /kept").success();
    let mark = if level == "A" { 700_501 } else { 700_502 };
    let mut child = job.start("build_script", &format!("touch /dropped; sleep {mark}"));
    wait_until("the script runs", LIMIT, || !with_mark(&format!("sleep {mark}")).is_empty());
    send("TERM", &format!("-{}", child.id()));
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
    dead.run("build_script", "mkdir /builds/x; chmod 000 /builds/x; chown -R 7:7 /builds/x || true")
        .success();
    let dead = site.jobs_left();
    // As if gitlab-runner had died: the process that the job belongs to had another start time.
    for directory in &dead {
        fs::write(directory.join("owner.json"), r#"{"pid":1,"started":1}"#).expect("the file is ours");
    }
    // Half made, and one of another node that shares the file system.
    let builds = dead[0].parent().expect("a job lies in the builds directory");
    let host = hostname();
    let half = builds.join(format!("{host}-custom-executor1"));
    let other = builds.join(format!("other{host}-custom-executor2"));
    for directory in [&half, &other] {
        fs::create_dir(directory).expect("the directory is ours");
        fs::write(directory.join("owner.json"), r#"{"pid":1,"started":1}"#).expect("the directory is new");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(directory.join("owner.json"), mode).expect("the file is ours");
    }
    let next = site.job(&image("busybox:latest"), json!({})).prepared();
    for gone in dead.iter().chain([&half]) {
        assert!(!gone.exists(), "{}", gone.display());
    }
    next.cleanup().success();
    assert_eq!(site.jobs_left(), vec![other]);
}

/// gitlab-runner waits 5 minutes for a script that it has stopped, then calls cleanup.
fn cleanup_beside_a_run(level: &str) {
    let site = site(level);
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let mark = if level == "A" { 700_601 } else { 700_602 };
    let busy =
        format!("sleep {mark} & trap '' TERM; while :; do i=$((i+1)); mkdir -p /builds/$i /new/$i; done");
    let mut child = job.start("build_script", &busy);
    wait_until("the script runs", LIMIT, || !with_mark(&format!("sleep {mark}")).is_empty());
    job.cleanup().success();
    child.wait().expect("the driver is our child");
    wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    // Nothing of it is in the way of another job.
    site.job(&image("debian:sid"), json!({})).prepared().run("build_script", "true").success();
}

fn links(level: &str) {
    let site = site(level);
    let outside = site.path().join("outside");
    fs::create_dir(&outside).expect("the site is writable");
    fs::write(outside.join("kept"), "").expect("the directory is new");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let script = format!("mkdir /builds/p; ln -s {0} /builds/p/link; ln -s {0} /link", outside.display());
    job.run("build_script", &script).success();
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    assert!(outside.join("kept").exists());
}

/// The end of the allocation: Slurm's signals instead of gitlab-runner's.
fn batch_system(level: &str) {
    let site = site(level);
    for (number, signal) in [None, Some("--signal=KILL")].into_iter().enumerate() {
        let job = site.job(&image("debian:sid"), json!({})).prepared();
        let mark = 700_700 + number * 10 + usize::from(level == "A");
        let script = job.script(&stubborn(u32::try_from(mark).expect("a small number")));
        let run = job.command(&["run", &script, "build_script"]);
        let mut sbatch = Command::new("sbatch");
        let words = [run.get_program()].into_iter().chain(run.get_args());
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        sbatch.args(["--parsable", "--output=/dev/null", "--wrap", &words.join(" ")]);
        sbatch.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = sbatch.output().expect("sbatch starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        wait_until("the script runs", LIMIT, || with_mark(&format!("sleep {mark}")).len() >= 3);
        let status = Command::new("scancel").args(signal).arg(&id).status().expect("scancel starts");
        assert!(status.success(), "scancel {id}");
        wait_until("all processes are gone", LIMIT, || with_mark(&format!("sleep {mark}")).is_empty());
        job.cleanup().success();
        assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    }
}

fn hostname() -> String {
    let output = Command::new("uname").arg("-n").output().expect("uname starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
