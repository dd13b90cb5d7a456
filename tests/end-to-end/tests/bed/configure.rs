//! From the configuration file to a job: register, render, and a runner in the queue with what was written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use end_to_end::bed::{image, program};
use end_to_end::cluster::{Cluster, PROJECT};
use end_to_end::processes::wait_until;
use serde_json::json;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[("configure: from one file to a job that succeeds", one_file)];

fn one_file() {
    let cluster = Cluster::new("");
    let home = cluster.site.path().join("home");
    fs::create_dir(&home).expect("the site is writable");
    let token = cluster.gitlab.project_token(PROJECT, &["read_api", "create_runner", "manage_runner"]);
    let text = format!(
        "name = \"bed\"\nurl = \"{url}\"\nproject = \"{PROJECT}\"\nmanagement_token = \"{token}\"\n\
         [runners.large]\ntags = [\"large\"]\n\
         [launch]\nexecutable = \"sbatch\"\nargs = [\"--output={site}/slurm.log\"]\nstdin = \"#!/bin/bash\\ngitlab-runner run-single --config $CONFIG --runner $NAME --max-builds $NUM_JOBS --wait-timeout 20\"\n\
         [executor]\nbuilds_dir = \"{site}/builds\"\nnode_dir = \"{site}/node\"\n\
         [runner]\nexecutor = \"custom\"\nbuilds_dir = \"{site}/builds\"\ncache_dir = \"{site}/cache\"\n\
         [runner.custom]\n{stages}",
        url = cluster.gitlab.url(),
        site = cluster.site.path().display(),
        stages = ["config", "prepare", "run", "cleanup"]
            .map(|stage| format!(
                "{stage}_exec = \"$THIS\"\n{stage}_args = [\"executor\", \"$NAME\", \"{stage}\"]\n"
            ))
            .concat(),
    );
    let config = home.join("gitlab-meta-runner.toml");
    fs::write(&config, text).expect("the home directory is new");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    front(&config, &home, "check-config", 0);
    let first = front(&config, &home, "configure", 0);
    assert!(!first.contains("glrt-") && !first.contains(&token), "{first}");
    let generated = home.join("data/bed.gitlab-runner.toml");
    let before = fs::read(&generated).expect("configure writes the file");
    assert_eq!(front(&config, &home, "configure", 0), "", "nothing to do is nothing to say");
    assert_eq!(fs::read(&generated).expect("the file stays"), before);
    let executor =
        fs::read_to_string(home.join("data/bed.executor.toml")).expect("configure writes the file");
    assert!(!executor.contains(&token) && !executor.contains("glrt-"), "compute nodes need no token here");

    let job = json!({ "image": image("busybox:latest"), "tags": ["large"], "script": ["test \"$PWD\" = /builds/chosen"], "variables": { "GIT_STRATEGY": "none", "GIT_CLONE_PATH": "$CI_BUILDS_DIR/chosen" } });
    let id = cluster.gitlab.enqueue(PROJECT, job);
    // Two ticks, one launch: what waits in the queue counts.
    for _ in 0..2 {
        assert_eq!(front(&config, &home, "run-single", 0), "", "a tick without trouble says nothing");
    }
    wait_until("the job is done", Duration::from_secs(120), || {
        cluster.job(id)["status"] != "pending" && cluster.job(id)["status"] != "running"
    });
    assert_eq!(cluster.job(id)["status"], "success", "{:#}", cluster.job(id));
    let ledger =
        fs::read_to_string(home.join("data/bed.launches.json")).expect("the launcher writes its ledger");
    assert_eq!(ledger.matches("\"instance\"").count(), 1, "{ledger}");
}

/// Runs the front and gives what it printed on both streams.
fn front(config: &Path, home: &Path, word: &str, code: i32) -> String {
    let mut command = Command::new(program("gitlab-meta-runner"));
    command.arg("--config-file").arg(config).arg("--data-dir").arg(home.join("data")).arg(word);
    let Output { status, stdout, stderr } = command.output().expect("the front starts");
    let log = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(code), "{word}: {log}");
    log
}
