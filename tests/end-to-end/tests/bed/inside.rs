//! What a script sees.

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE, Site};
use serde_json::json;

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("inside: exit codes reach gitlab-runner", exit_codes),
    ("inside: helper stages need nothing in the image", helper),
    ("inside: no host variables, no home, no tokens", nothing_of_the_host),
    ("inside: entrypoint and its override", entrypoint),
    ("inside: user, home and files of the image", user),
    ("inside: working directory and environment of the image", environment),
    ("inside: root, writable everywhere, kept until after_script", writable),
    ("inside: allocation variables pass, others do not", pass_env),
    ("inside: project caches are kept apart", caches),
    ("inside: no path is made from a job's odd variable", odd_paths),
    ("inside: checkouts are writable for every user", shared_builds),
];

fn site(level: &str, more: &str) -> Site {
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
    assert!(log.contains("\n0000\n/root\n"), "{log}");
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
    assert_eq!(names, "HOME HOSTNAME PATH PWD SHLVL _ ");
}

fn entrypoint(level: &str) {
    let site = site(level, "");
    let run = |extra| {
        site.job(&image("entrypoint:latest"), extra)
            .prepared()
            .run("build_script", "echo \"$FROM_ENTRYPOINT\"")
    };
    assert_eq!(run(json!({})).success(), "entrypoint-marker\nset by the entrypoint\n");
    assert_eq!(run(json!({ "image": { "entrypoint": [""] } })).success(), "\n");
    let own = json!({ "image": { "entrypoint": ["/bin/sh", "-c", "export FROM_ENTRYPOINT=mine; exec \"$@\"", "x"] } });
    assert_eq!(run(own).success(), "mine\n");
    let failing = run(json!({ "image": { "entrypoint": ["/bin/sh", "-c", "exit 3"] } }));
    assert_eq!((failing.code, failing.script_code.as_deref()), (BUILD_FAILURE, Some("3")));
}

fn user(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("user:latest"), json!({})).prepared();
    let log = job
        .run("build_script", "id -u; id -g; echo $HOME; touch /builds/mine && stat -c %u /builds/mine")
        .success();
    assert_eq!(log, "1234\n1234\n/home/app\n1234\n");
    if level == "A" {
        let number = json!({ "image": { "executor_opts": { "docker": { "user": "4321:99" } } } });
        let log = site
            .job(&image("busybox:latest"), number)
            .prepared()
            .run("build_script", "id -u; id -g")
            .success();
        assert_eq!(log, "4321\n99\n");
    }
}

fn environment(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("workdir:latest"), json!({})).prepared();
    let log = job.run("build_script", "pwd; echo \"$DOLLAR|$QUOTES|$SPACES|\"").success();
    assert_eq!(log, "/srv/work\n$HOME $(id) ${X}|it's \"quoted\"|two  words |\n");
}

fn writable(level: &str) {
    let site = site(level, "");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let script = "id -u; rm -r /usr/share/doc; mkdir /new; echo kept > /tmp/file; ls -ld /tmp | cut -c1-10; umask; sleep 5000 & true";
    assert_eq!(job.run("build_script", script).success(), "0\ndrwxrwxrwt\n0022\n");
    let after = "cat /tmp/file; ls -d /new /usr/share/doc 2>/dev/null; cat /proc/[0-9]*/comm | grep -c sleep";
    assert_eq!(job.run("after_script", after).log, "kept\n/new\n0\n");
    let next = site.job(&image("debian:sid"), json!({})).prepared();
    assert_eq!(
        next.run("build_script", "ls -d /usr/share/doc; ls /new 2>/dev/null || echo clean").success(),
        "/usr/share/doc\nclean\n"
    );
    if level == "A" {
        let log = job.run(
            "build_script",
            "useradd someone && su someone -c 'id -un'; chown 1234 /new && stat -c %u /new",
        );
        assert!(log.log.ends_with("someone\n1234\n"), "{}", log.log);
    }
}

fn pass_env(level: &str) {
    let site = site(level, "");
    let job = site
        .job(&image("busybox:latest"), json!({}))
        .with_environment("SLURM_JOB_ID", "77")
        .with_environment("CUDA_VISIBLE_DEVICES", "0,1")
        .with_environment("OTHER", "no")
        .prepared();
    let log = job.run("build_script", "echo $SLURM_JOB_ID $CUDA_VISIBLE_DEVICES $OTHER").success();
    assert_eq!(log, "77 0,1\n");
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
