//! How an image begins: its entrypoint, or that of the job.

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE};
use end_to_end::processes::{LIMIT, wait_until, with_mark};
use serde_json::json;

use crate::LevelTest;
use crate::inside::site;
use crate::podman::podman;

pub(crate) const TESTS: &[LevelTest] = &[
    ("inside: entrypoint and its override", entrypoint),
    ("inside: the entrypoint has the job's variables, and nobody else sees them", variables),
    ("inside: no such entrypoint", no_entrypoint),
    ("inside: entrypoints do what they do under podman", entrypoints),
];

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

fn variables(level: &str) {
    let site = site(level, "");
    // Odd characters, a name that bash keeps for itself, and more than a page of text.
    let odd = "it's $HOME\n\t`id` \\ \"ü\"";
    let long = "long-".repeat(20_000);
    let job = site
        .job(
            &image("busybox:latest"),
            json!({
                "image": { "entrypoint": ["/bin/sh", "-c", "printf '%s|' \"$ODD\" \"$CERT\" \"$CI_DISPOSABLE_ENVIRONMENT\" ${#LONG}; exec \"$@\"", "x"] },
                "variables": [{ "key": "CERT", "value": "text", "file": true }],
            }),
        )
        .with_environment("CUSTOM_ENV_ODD", odd)
        .with_environment("CUSTOM_ENV_CERT", "text")
        .with_environment("CUSTOM_ENV_LONG", &long)
        .with_environment("CUSTOM_ENV_UID", "7")
        .with_environment("CUSTOM_ENV_CI_SHARED_ENVIRONMENT", "true")
        .with_environment("CUSTOM_ENV_RUNNER_TEMP_PROJECT_DIR", "/builds/p.tmp")
        .with_environment("CUSTOM_ENV_SECRET", "hush-hush-42")
        .prepared();
    let log = job.run("build_script", "echo; echo $SECRET").success();
    assert_eq!(log, format!("{odd}|/builds/p.tmp/CERT|true|100000|\nhush-hush-42\n"));
    let mut running = job.start("build_script", "touch /builds/runs; sleep 60");
    wait_until("the script runs", LIMIT, || !with_mark("sleep 60").is_empty());
    let seen = with_mark("hush-hush-42");
    running.kill().expect("the driver is our child");
    running.wait().expect("the driver is our child");
    assert_eq!(seen, Vec::<u32>::new(), "a value is in an argument");
}

fn no_entrypoint(level: &str) {
    let site = site(level, "");
    let run = |entrypoint| {
        let job = site.job(&image("busybox:latest"), json!({ "image": { "entrypoint": entrypoint } }));
        job.prepared().run("build_script", "true")
    };
    // docker: runner_system_failure.
    run(json!(["/nope", "x"])).failed(SYSTEM_FAILURE, "the image has no entrypoint `/nope`");
    run(json!(["/etc/passwd"])).failed(SYSTEM_FAILURE, "the image has no entrypoint `/etc/passwd`");
    let ended = run(json!(["/bin/sh", "-c", "echo not a shell >&2; exit 127"]));
    assert_eq!((ended.code, ended.script_code.as_deref()), (BUILD_FAILURE, Some("127")), "{}", ended.log);
}

fn entrypoints(level: &str) {
    let site = site(level, "");
    let find_shell = "for shell in /bin/bash /bin/sh; do if [ -x $shell ]; then exec $shell; fi; done";
    for entrypoint in [
        r#"["/bin/sh","-c"]"#,
        r#"["/bin/sh"]"#,
        r#"["/bin/cat"]"#,
        r#"["/bin/true"]"#,
        r#"["/bin/sh","-c","exit 9"]"#,
        r#"["sh","-c","echo error >&2; exec \"$@\"","x"]"#,
        r#"["env","A=it's  $HOME"]"#,
        r#"["/bin/sh","-c","read line; echo got $line; exec \"$@\"","x"]"#,
    ] {
        let script = "echo \"$A\"; pwd; exit 5\n";
        let words: serde_json::Value = serde_json::from_str(entrypoint).expect("the table has JSON");
        let job = site.job(&image("busybox:latest"), json!({ "image": { "entrypoint": words } })).prepared();
        let ours = job.run("build_script", script);
        let theirs =
            podman(&["--entrypoint", entrypoint, &image("busybox:latest"), "sh", "-c", find_shell], script);
        let code = ours.script_code.unwrap_or_else(|| "0".to_owned());
        assert_eq!((sorted(&ours.log), code), (sorted(&theirs.log), theirs.code.to_string()), "{entrypoint}");
    }
    // A shell that reads ahead where it can go back, which it cannot in a pipe.
    let reader = r#"["/bin/bash","-c","read line; echo got $line; tty; exec \"$@\"","x"]"#;
    let words: serde_json::Value = serde_json::from_str(reader).expect("it is JSON");
    let job = site.job(&image("debian:sid"), json!({ "image": { "entrypoint": words } })).prepared();
    let script = "echo first\necho second; read line; echo \"$line\"\necho third\n";
    let theirs = podman(&["--entrypoint", reader, &image("debian:sid"), "sh", "-c", find_shell], script);
    assert_eq!(job.run("build_script", script).success(), theirs.log);
}

/// The lines of a log, without the order of stdout and stderr, which podman does not keep.
fn sorted(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    lines
}
