//! Where a job's files are, and which of them stay.

use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::bed::image;
use end_to_end::executor::{Job, Site};
use serde_json::{Value, json};

use crate::LevelTest;

pub(crate) const TESTS: &[LevelTest] = &[
    ("directories: with same_paths a job sees the host's paths", same_paths),
    ("directories: with keep_builds a checkout stays for the next job that fetches", keep_builds),
    ("directories: two jobs never share a slot", slots),
    ("directories: a slot that no job has used for a month is removed", old_slot),
    ("directories: a slot on the host's paths", slot_on_host_paths),
];

fn config(job: &Job<'_>) -> Value {
    serde_json::from_str(&job.config().success()).expect("config prints JSON")
}

fn path(answer: &Value, key: &str) -> PathBuf {
    PathBuf::from(answer[key].as_str().expect("config answers with both directories"))
}

fn same_paths(level: &str) {
    let site = Site::new(&format!("level = \"{level}\"\nsame_paths = true"));
    for name in ["debian:sid", "user:latest"] {
        let job = site.job(&image(name), json!({}));
        let answer = config(&job);
        let (builds, cache) = (path(&answer, "builds_dir"), path(&answer, "cache_dir"));
        assert!(builds.starts_with(site.path()) && cache.starts_with(site.path()), "{answer}");
        let job = job.prepared();
        let (b, c) = (builds.display(), cache.display());
        job.run("get_sources", &format!("umask 0; mkdir {b}/p; echo sources > {b}/p/f; echo cached > {c}/f"))
            .success();
        assert_eq!(std::fs::read_to_string(builds.join("p/f")).expect("the host sees it"), "sources\n");
        let log =
            job.run("build_script", &format!("cat {b}/p/f {c}/f; touch {b}/p/made; ls -d /builds 2>&1"));
        assert!(log.log.starts_with("sources\ncached\n") && log.code != 0, "{}", log.log);
        // Nothing else that is there on the host: other jobs, our data.
        let log =
            job.run("get_sources", &format!("ls {b}/p; ls -A {0} {0}/data {b}/../..", site.path().display()));
        let hidden = ["executor.toml", "owner.json"];
        assert!(
            log.log.starts_with("f\nmade\n") && !hidden.iter().any(|name| log.log.contains(name)),
            "{}",
            log.log
        );
        job.cleanup().success();
        assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
    }
}

fn keeping(level: &str) -> Site {
    Site::new(&format!("level = \"{level}\"\nkeep_builds = true"))
}

fn fetching() -> Value {
    json!({ "allow_git_fetch": true })
}

/// Runs `script` in a job of its own.
fn run(site: &Site, payload: Value, script: &str) -> String {
    let job = site.job(&image("debian:sid"), payload).prepared();
    let log = job.run("build_script", script).success();
    job.cleanup().success();
    log
}

fn keep_builds(level: &str) {
    let site = keeping(level);
    run(&site, fetching(), "echo kept > /builds/f; touch /new");
    assert_eq!(run(&site, fetching(), "cat /builds/f; ls /new 2>/dev/null || true"), "kept\n");
    let variable = |value: &str| json!({ "allow_git_fetch": true, "variables": [{ "key": "GIT_STRATEGY", "value": value }] });
    assert_eq!(run(&site, variable("fetch"), "cat /builds/f"), "kept\n");
    for strategy in ["clone", "none", "empty"] {
        assert_eq!(run(&site, variable(strategy), "ls /builds"), "", "{strategy}");
    }
    assert_eq!(run(&site, json!({}), "ls /builds"), "", "the project clones");
    let other = json!({ "allow_git_fetch": true, "job_info": { "project_id": 8 } });
    assert_eq!(run(&site, other, "ls /builds"), "", "another project");
    let protected = json!({ "allow_git_fetch": true, "git_info": { "protected": true } });
    assert_eq!(run(&site, protected, "ls /builds"), "", "a protected ref");
}

fn slots(level: &str) {
    let site = keeping(level);
    let first = site.job(&image("debian:sid"), fetching()).prepared();
    let second = site.job(&image("debian:sid"), fetching()).prepared();
    first.run("build_script", "echo first > /builds/f").success();
    assert_eq!(second.run("build_script", "ls /builds; echo second > /builds/f").success(), "");
    first.cleanup().success();
    let third = site.job(&image("debian:sid"), fetching()).prepared();
    assert_eq!(third.run("build_script", "cat /builds/f").success(), "first\n");
    // A killed job keeps no slot: its gitlab-runner is gone.
    let job = |path: &PathBuf| path.join("claim.json").exists();
    let slots: Vec<PathBuf> = site.jobs_left().into_iter().filter(job).collect();
    assert_eq!(slots.len(), 2, "{slots:?}");
    for slot in slots {
        forget_owner(&slot.join("claim.json"));
    }
    let fourth = site.job(&image("debian:sid"), fetching()).prepared();
    assert_eq!(fourth.run("build_script", "cat /builds/f").success(), "first\n");
}

fn old_slot(level: &str) {
    let site = keeping(level);
    let project = |id: u64| json!({ "allow_git_fetch": true, "job_info": { "project_id": id } });
    for id in [1, 2, 3] {
        run(&site, project(id), "mkdir /builds/d; chmod 000 /builds/d; chown -R 7:7 /builds/d || true");
    }
    let slot = |id: u64| {
        let found = site
            .jobs_left()
            .into_iter()
            .find(|path| path.display().to_string().contains(&format!("-big-gitlab-{id}-")));
        found.expect("each project has a slot")
    };
    let in_use = site.job(&image("debian:sid"), project(3)).prepared();
    for old in [slot(2), slot(3)] {
        let status = Command::new("touch").args(["--date", "31 days ago"]).arg(old).status();
        assert!(status.expect("touch starts").success());
    }
    let kept = vec![slot(1), slot(3)];
    // Whatever job comes next, on whatever project.
    run(&site, json!({}), "true");
    in_use.cleanup().success();
    let mut left = site.jobs_left();
    left.retain(|path| path.is_dir());
    left.sort();
    assert_eq!(left, kept);
}

fn forget_owner(claim: &Path) {
    let text = std::fs::read_to_string(claim).expect("the claim is ours");
    let mut value: Value = serde_json::from_str(&text).expect("the claim is JSON");
    value["owner"]["started"] = json!(1);
    std::fs::write(claim, value.to_string()).expect("the claim is ours");
}

fn slot_on_host_paths(level: &str) {
    let site = Site::new(&format!("level = \"{level}\"\nkeep_builds = true\nsame_paths = true"));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let job = site.job(&image("busybox:latest"), fetching());
        let builds = path(&config(&job), "builds_dir");
        let job = job.prepared();
        let script = format!("ls {0}; touch {0}/f", builds.display());
        seen.push((builds, job.run("build_script", &script).success()));
        job.cleanup().success();
    }
    assert_eq!(seen[0].0, seen[1].0);
    assert_eq!((seen[0].1.as_str(), seen[1].1.as_str()), ("", "f\n"));
}
