//! Isolation level C: Apptainer alone, without namespaces of ours. What the other levels promise, as far as it can be had.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, Ended, Job, SYSTEM_FAILURE, Site};
use end_to_end::processes::{LIMIT, send, wait_until, with_mark};
use serde_json::{Value, json};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("level C: exit codes reach gitlab-runner", exit_codes),
    ("level C: a job sees the host's paths and nothing else of it", paths),
    ("level C: the image's entrypoint, variables and working directory", image_settings),
    ("level C: the job is the user, everywhere writable, kept until after_script", writable),
    ("level C: SIGTERM and SIGKILL end everything", endings),
    ("level C: a daemon that is left behind does not hold the job", daemon),
    ("level C: cleanup removes what is closed to its owner", cleanup),
    ("level C: checkouts stay in slots", slots),
    ("level C: taken by itself where namespaces are refused, or a message", without_namespaces),
    ("level C: Apptainer with set-user-id root begins each stage with the image", set_user_id),
    ("level C: where Apptainer starts nothing, its words are in the log", no_container),
];

fn site(more: &str) -> Site {
    Site::new(&format!("level = \"C\"\n{more}"))
}

/// The job's directories, as config answers.
fn directories(job: &Job<'_>) -> (PathBuf, PathBuf) {
    let answer: Value = serde_json::from_str(&job.config().success()).expect("config prints JSON");
    let path = |key: &str| PathBuf::from(answer[key].as_str().expect("config answers with both directories"));
    (path("builds_dir"), path("cache_dir"))
}

fn exit_codes() {
    let site = site("");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "get_sources"] {
        for code in [1, 2, 137, 255] {
            let ended = job.run(stage, &format!("exit {code}"));
            let expected = (BUILD_FAILURE, Some(code.to_string()));
            assert_eq!((ended.code, ended.script_code), expected, "{stage}: {}", ended.log);
        }
        let ended = job.run(stage, "kill -KILL $$");
        assert_eq!((ended.code, ended.script_code.as_deref()), (BUILD_FAILURE, Some("137")), "{stage}");
        let Ended { code, script_code, .. } = job.run(stage, "exit 0");
        assert_eq!((code, script_code), (0, None));
    }
    let none = site.job(&image("busybox:latest"), json!({ "image": { "entrypoint": ["/nope"] } })).prepared();
    none.run("build_script", "true").failed(SYSTEM_FAILURE, "the image has no entrypoint `/nope`");
}

fn paths() {
    let site = site("");
    let job = site.job(&image("debian:sid"), json!({})).with_environment("HOST_SECRET", "do-not-show");
    let (builds, cache) = directories(&job);
    assert!(builds.starts_with(site.path()) && cache.starts_with(site.path()));
    let job = job.prepared();
    let (b, c) = (builds.display(), cache.display());
    let helper = format!(
        "git init -q {b}/p && umask && echo $HOME && touch ~/f /tmp/t {c}/f && gitlab-runner --version"
    );
    let log = job.run("get_sources", &helper).success();
    assert!(log.starts_with("0000\n/root\n"), "{log}");
    assert!(builds.join("p/.git").is_dir() && cache.join("f").is_file());
    for stage in ["build_script", "get_sources"] {
        let own = site.path().display();
        let log = job.run(
            stage,
            &format!("env; ls -A /home {own} {own}/data {b}/.. 2>/dev/null; cat /proc/[0-9]*/comm"),
        );
        for hidden in
            ["do-not-show", "APPTAINER", "SINGULARITY", "executor.toml", "owner.json", "/home/ci", "slurmd"]
        {
            assert!(!log.log.contains(hidden), "{stage}: {hidden} in {}", log.log);
        }
    }
    assert_eq!(
        job.run("build_script", "hostname; cat /etc/hostname | wc -l; ls /tmp").success(),
        "runner-none-project-7-concurrent-0\n1\nt\n"
    );
}

fn image_settings() {
    let site = site("");
    let entrypoint =
        site.job(&image("entrypoint:latest"), json!({})).with_environment("CUSTOM_ENV_SECRET", "it's 'hush");
    let log = entrypoint.prepared().run("build_script", "echo \"$FROM_ENTRYPOINT|$SECRET\"").success();
    assert_eq!(log, "entrypoint-marker\nset by the entrypoint|it's 'hush\n");
    let job = site.job(&image("workdir:latest"), json!({})).prepared();
    let log = job.run("build_script", "pwd; echo \"$DOLLAR|$QUOTES|$SPACES|\"").success();
    assert_eq!(log, "/srv/work\n$HOME $(id) ${X}|it's \"quoted\"|two  words |\n");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let names =
        job.run("build_script", "env | cut -d= -f1 | sort | tr '\\n' ' '; umask; ulimit -c").success();
    assert_eq!(names, "HOME HOSTNAME PATH PWD SHLVL 0022\n0\n");
}

fn writable() {
    let site = site("");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let script = "test $(id -u) != 0 && rm -r /usr/share/doc && mkdir /new && touch ~/f /tmp/f && echo done";
    assert_eq!(job.run("build_script", script).success(), "done\n");
    assert_eq!(job.run("after_script", "ls -d /new ~/f /tmp/f").success(), "/new\n/root/f\n/tmp/f\n");
    let next = site.job(&image("debian:sid"), json!({})).prepared();
    assert_eq!(
        next.run("build_script", "ls -d /usr/share/doc /new 2>/dev/null || true").success(),
        "/usr/share/doc\n"
    );
}

/// A site whose Apptainer is the shell script `text`, where `$real` is the true one.
fn site_with_apptainer(directory: &Path, text: &str) -> Site {
    let path = directory.join("apptainer");
    fs::write(&path, format!("#!/bin/sh\nreal=/usr/bin/apptainer\n{text}\n")).expect("a new directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    site(&format!("apptainer_executable = '{}'", path.display()))
}

/// Debian has no Apptainer with set-user-id root. This one refuses what that refuses, in its words, and can remove
/// directories of the image as that can.
fn set_user_id() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("conf"), "enable overlay = driver\n").expect("a new directory");
    let site = site_with_apptainer(
        directory.path(),
        r#"case " $* " in
    *" --config "*) echo 'FATAL:   While initializing: --config requires to be root or an unprivileged installation' >&2; exit 255;;
    *" --overlay "*) echo 'FATAL:   only root user can use sandbox as overlay in setuid mode' >&2; exit 255;;
esac
exec "$real" --config "${0%/*}/conf" "$@""#,
    );
    let job = site.job(&image("debian:sid"), json!({}));
    let prepared = job.prepare();
    assert_eq!((prepared.code, prepared.log.contains("FATAL")), (0, false), "{}", prepared.log);
    let script = "touch /new /tmp/f && echo done";
    assert_eq!(job.run("build_script", script).success(), "done\n");
    assert_eq!(job.run("after_script", "ls -d /new /tmp/f 2>/dev/null || true").success(), "/tmp/f\n");
}

fn no_container() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let site = site_with_apptainer(
        directory.path(),
        r#"[ "$1" = --version ] && exec "$real" "$@"; echo 'FATAL:   no container today' >&2; exit 255"#,
    );
    site.job(&image("debian:sid"), json!({}))
        .prepare()
        .failed(SYSTEM_FAILURE, "level C: `FATAL:   no container today`, exit code 255");
}

fn endings() {
    let site = site("");
    for (number, signal) in ["TERM", "KILL"].into_iter().enumerate() {
        let mark = 700_801 + number;
        let job = site.job(&image("debian:sid"), json!({}));
        let (builds, _) = directories(&job);
        let job = job.prepared();
        let script = format!(
            "trap 'echo term >> {}/got; sleep 0.2; exit 7' TERM\n(setsid sh -c 'trap \"\" TERM; sleep {mark}' &)\nsleep {mark} & wait\n",
            builds.display()
        );
        let mut child = job.start("build_script", &script);
        let running = || with_mark(&format!("sleep {mark}")).len();
        wait_until("the script runs", LIMIT, || running() >= 3);
        send(signal, &format!("-{}", child.id()));
        child.wait().expect("the driver is our child");
        wait_until("all processes are gone", LIMIT, || running() == 0);
        if signal == "TERM" {
            assert_eq!(fs::read_to_string(builds.join("got")).expect("the trap ran"), "term\n");
        }
        job.run("after_script", "true").success();
        job.cleanup().success();
        assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    }
}

fn daemon() {
    let site = site("");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    for stage in ["build_script", "get_sources"] {
        job.run(stage, "(setsid sleep 700811 &); sleep 700811 & echo end").success();
        assert_eq!(with_mark("sleep 700811"), Vec::<u32>::new(), "{stage}");
    }
}

fn cleanup() {
    let site = site("");
    let job = site.job(&image("busybox:latest"), json!({}));
    let (builds, _) = directories(&job);
    let outside = site.path().join("outside");
    fs::create_dir(&outside).expect("the site is writable");
    let (builds, kept) = (builds.display(), outside.display());
    let script = format!(
        "mkdir -p {builds}/a/b /odd/c; touch {builds}/a/b/f; ln -s {kept} {builds}/a/link; chmod 000 {builds}/a/b {builds}/a /odd"
    );
    let job = job.prepared();
    job.run("build_script", &script).success();
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    assert!(Path::new(&outside).is_dir());
    job.cleanup().success();
}

fn slots() {
    let site = site("keep_builds = true");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let job = site.job(&image("busybox:latest"), json!({ "allow_git_fetch": true }));
        let (builds, _) = directories(&job);
        let job = job.prepared();
        seen.push(job.run("build_script", &format!("ls {0}; touch {0}/f", builds.display())).success());
        job.cleanup().success();
    }
    assert_eq!(seen, ["", "f\n"]);
}

/// A kernel that gives no user namespaces: in one of its own, a user may say so. There Apptainer works as root; without
/// capabilities it does not.
fn without_namespaces() {
    let site = Site::new("");
    let job = site.job(&image("busybox:latest"), json!({}));
    let script = job.script("echo in the script; ls -d /builds 2>/dev/null || echo no pod");
    let call = |before: &str, words: &[&str]| -> Ended {
        let call = job.command(words);
        let mut node = Command::new("unshare");
        let refuse = format!("echo 0 > /proc/sys/user/max_user_namespaces; exec {before} \"$@\"");
        node.args(["--map-root-user", "sh", "-c", &refuse, "sh"])
            .arg(call.get_program())
            .args(call.get_args());
        node.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = node.output().expect("unshare starts");
        let log =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ended { code: output.status.code().unwrap_or(-1), log, script_code: None }
    };
    let powerless = "setpriv --bounding-set -all --inh-caps -all --no-new-privs --securebits +noroot";
    let ended = call(powerless, &["prepare"]);
    ended.failed(SYSTEM_FAILURE, "does not let a user run a job: level A: ");
    ended.failed(
        SYSTEM_FAILURE,
        "; level B: cannot make user, mount, ipc and uts namespaces: No space left on device",
    );
    ended.failed(SYSTEM_FAILURE, "; level C: ");
    ended.failed(
        SYSTEM_FAILURE,
        "hint: ask the administrator for user namespaces (sysctl user.max_user_namespaces",
    );
    let log = call("", &["prepare"]).success();
    assert!(log.contains("isolation level C, network: host"), "{log}");
    assert_eq!(call("", &["run", &script, "build_script"]).success(), "in the script\nno pod\n");
    call("", &["cleanup"]).success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}
