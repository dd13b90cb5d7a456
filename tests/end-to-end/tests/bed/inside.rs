//! What a script sees of the node and of other jobs.

use std::process::Command;

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE, Site};
use serde_json::json;

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("inside: exit codes reach gitlab-runner", exit_codes),
    ("inside: what goes to stdout and to stderr keeps its order", order),
    ("inside: helper stages need nothing in the image", helper),
    ("inside: no host variables, no home, no tokens", nothing_of_the_host),
    ("inside: the pod's own processes lead nowhere", own_processes),
    ("inside: a helper stage without gitlab-runner is refused", no_runner),
    ("inside: nothing that the caller left open", descriptors),
    ("inside: allocation variables pass, others do not", pass_env),
    ("inside: project caches are kept apart", caches),
    ("inside: no path is made from a job's odd variable", odd_paths),
    ("inside: checkouts are writable for every user", shared_builds),
];

pub(crate) fn site(level: &str, more: &str) -> Site {
    Site::new(&format!("level = \"{level}\"\n{more}"))
}

fn exit_codes(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "after_script", "get_sources"] {
        for code in [1, 42, 255] {
            let ended = job.run(stage, &format!("exit {code}"));
            assert_eq!(
                (ended.code, ended.script_code),
                (BUILD_FAILURE, Some(code.to_string())),
                "{stage}: {}",
                ended.log
            );
        }
        let ended = job.run(stage, "kill -KILL $$");
        assert_eq!(
            (ended.code, ended.script_code),
            (BUILD_FAILURE, Some("137".to_owned())),
            "{stage}: {}",
            ended.log
        );
        let ended = job.run(stage, "exit 0");
        assert_eq!(
            (ended.code, ended.script_code),
            (0, None),
            "a stale code would be reported for the next failure"
        );
    }
}

fn order(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "get_sources"] {
        let log = job.run(stage, "set -x; echo one; echo two >&2; echo three").success();
        assert_eq!(log, "+ echo one\none\n+ echo two\ntwo\n+ echo three\nthree\n", "{stage}");
    }
}

fn helper(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    let log = job
        .run(
            "get_sources",
            "git init -q /builds/p && git --version && umask && echo $HOME && cat /proc/1/comm",
        )
        .success();
    assert!(log.starts_with("git version"), "{log}");
    // `ps` shows process 1 by this name.
    assert!(log.ends_with("\n0000\n/root\nmeta-executor\n"), "{log}");
    let log = job.run("build_script", "ls -d /builds/p/.git; command -v git || echo no git").success();
    assert_eq!(log, "/builds/p/.git\nno git\n");
}

fn nothing_of_the_host(level: &str) {
    let site = site(level, "");
    let job = site
        .job(&image("debian:sid"), json!({ "variables": [{ "key": "CI_BUILDS_DIR", "value": "/etc" }] }))
        .with_environment("HOST_SECRET", "do-not-show")
        .with_environment("CUSTOM_ENV_CI_BUILDS_DIR", "/etc")
        .prepared();
    for stage in ["build_script", "get_sources"] {
        let log = job.run(stage, "env; ls -A /home /scratch /root 2>/dev/null; echo end").success();
        assert!(
            !log.contains("do-not-show") && !log.contains("APPTAINER") && !log.contains("SINGULARITY"),
            "{log}"
        );
        let site = site.path().display().to_string();
        assert!(!log.contains("/home/ci") && !log.contains(&site), "{log}");
    }
    let names = job.run("build_script", "env | cut -d= -f1 | sort | tr '\\n' ' '").success();
    // The job's own variable, as docker gives it to the container; no path is made from it.
    assert_eq!(names, "CI_BUILDS_DIR HOME HOSTNAME PATH PWD SHLVL _ ");
}

/// The init and Apptainer have the host's root, which /proc would show to whoever may trace them.
fn own_processes(level: &str) {
    let site = site(level, "");
    for name in ["debian:sid", "user:latest"] {
        let job = site.job(&image(name), json!({})).prepared();
        for stage in ["build_script", "get_sources"] {
            let script = "for pid in /proc/[0-9]*; do ls -A $pid/root/home $pid/root/scratch $pid/cwd/home 2>/dev/null; done; \
                cat /proc/1/environ 2>/dev/null; umount -a 2>/dev/null; ls /home /scratch 2>/dev/null; grep CapEff /proc/self/status; true";
            let log = job.run(stage, script).success();
            let own = site.path().file_name().expect("a site has a name").to_string_lossy().into_owned();
            assert!(
                !log.contains("plain") && !log.contains(&own) && log.contains("CapEff:\t00000000"),
                "{log}"
            );
        }
    }
}

fn no_runner(level: &str) {
    let site = site(level, "");
    // gitlab-runner would skip caches and artifacts, and call that a success.
    let job = site.job(&image("busybox:latest"), json!({})).with_environment("PATH", "/usr/bin:/bin");
    job.prepare().failed(SYSTEM_FAILURE, "cannot find `gitlab-runner`");
    // Where it is not in PATH, the one that called us will do.
    let shell = site.path().join("gitlab-runner-19");
    std::fs::copy("/bin/sh", &shell).expect("the site is writable");
    let path = job.script("ls -l $(command -v gitlab-runner) | wc -l");
    let calls = [job.command(&["prepare"]), job.command(&["run", &path, "get_sources"])];
    for call in calls {
        let mut caller = Command::new(&shell);
        caller.args(["-c", "\"$@\"; exit $?", "sh"]).arg(call.get_program()).args(call.get_args());
        caller.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = caller.output().expect("sh starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn descriptors(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    for stage in ["build_script", "get_sources"] {
        let path = job.script("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true");
        let run = job.command(&["run", &path, stage]);
        // The caller leaves descriptor 7 open.
        let mut caller = Command::new("sh");
        caller.args(["-c", "exec 7</etc/passwd; \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
        caller.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = caller.output().expect("sh starts");
        let log = String::from_utf8_lossy(&output.stdout);
        // bash keeps its script at 255.
        let open: Vec<&str> = log.lines().filter(|&number| number != "255").collect();
        assert_eq!(open, ["0", "1", "2"], "{stage}");
    }
}

fn pass_env(level: &str) {
    let run = |more: &str, script: &str| {
        let site = site(level, more);
        let mut job = site.job(&image("busybox:latest"), json!({}));
        for (name, value) in [
            ("SLURM_JOB_ID", "77"),
            ("CUDA_VISIBLE_DEVICES", "0,1"),
            ("PMI_RANK", "3"),
            ("PMIX_ID", "a b"),
            ("OTHER", "no"),
        ] {
            job = job.with_environment(name, value);
        }
        job.prepared().run("build_script", script).success()
    };
    let show = "echo \"$SLURM_JOB_ID|$CUDA_VISIBLE_DEVICES|$PMI_RANK|$PMIX_ID|$OTHER|\"";
    assert_eq!(run("", show), "77|0,1||||\n");
    assert_eq!(run("pass_env = [\"PMI*\"]", show), "||3|a b||\n");
}

fn caches(level: &str) {
    let site = site(level, "");
    let run = |project: u64, protected: bool, script: &str| {
        let extra = json!({ "job_info": { "project_id": project }, "git_info": { "protected": protected } });
        site.job(&image("busybox:latest"), extra).prepared().run("build_script", script).log
    };
    run(1, false, "echo one > /cache/file");
    assert_eq!(run(1, false, "cat /cache/file"), "one\n");
    assert_eq!(run(2, false, "ls /cache"), "");
    assert_eq!(run(1, true, "ls /cache"), "");
}

fn odd_paths(level: &str) {
    let site = site(level, "image_tmp_dir = \"/scratch/tmp-$CUSTOM_ENV_CI_COMMIT_REF_NAME\"");
    let prepare = |name: &str| {
        let variables = json!({ "variables": [{ "key": "CI_COMMIT_REF_NAME", "value": name }] });
        site.job(&image("busybox:latest"), variables).prepare()
    };
    prepare("../../etc").failed(SYSTEM_FAILURE, "would leave its directory");
    assert!(!std::path::Path::new("/scratch/tmp-..").exists());
}

fn shared_builds(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("user:latest"), json!({})).prepared();
    job.run("get_sources", "mkdir -p /builds/group/project && touch /builds/group/project/file").success();
    job.run("build_script", "cd /builds/group/project && echo x > file && mkdir out && touch out/result")
        .success();
    assert_eq!(job.run("upload_artifacts_on_success", "ls /builds/group/project/out").success(), "result\n");
}
