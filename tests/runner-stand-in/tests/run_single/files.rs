//! What jobs do with files: git, artifacts, caches.

use crate::support::{PLAIN_DRIVER, Sandbox, job, readable, set};
use serde_json::{Value, json};

/// A repository with two commits and a submodule; returns the sha of its head.
fn repository(sandbox: &Sandbox) -> String {
    sandbox.shell(
        "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git config --global protocol.file.allow always
        git init -q -b main sub && cd sub && echo inner > inner && git add . && git commit -q -m one && cd ..
        git init -q -b main repo && cd repo
        echo one > file && git add . && git commit -q -m one
        git submodule --quiet add \"$SANDBOX/sub\" sub
        echo two > file && git add . && git commit -q -m two",
    );
    String::from_utf8(sandbox.shell("git -C repo rev-parse HEAD").stdout).unwrap().trim().to_owned()
}

fn git_job(id: u64, sandbox: &Sandbox, sha: &str, script: &[&str]) -> Value {
    let mut job = job(id, script);
    job["variables"] = json!([]);
    job["git_info"] = json!({
        "repo_url": format!("file://{}", sandbox.path("repo").display()), "ref": "main", "sha": sha, "depth": 20,
        "refspecs": ["+refs/heads/main:refs/remotes/origin/main"],
    });
    job
}

#[test]
fn sources_are_fetched_checked_out_and_cleaned() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let sha = repository(&sandbox);
    let first = git_job(
        1,
        &sandbox,
        &sha,
        &["cat file", "git rev-parse --abbrev-ref HEAD", "touch untracked", "ls sub | wc -l"],
    );
    let mut second = git_job(2, &sandbox, &sha, &["ls", "cat sub/inner"]);
    set(&mut second, "GIT_SUBMODULE_STRATEGY", "recursive");
    let mut third = git_job(3, &sandbox, &sha, &["git log --oneline | wc -l"]);
    set(&mut third, "GIT_STRATEGY", "clone");
    third["git_info"]["depth"] = json!(1);
    sandbox.server.state().jobs.extend([first, second, third]);
    sandbox.run(3);
    let log = readable(&sandbox.server.log());
    assert_eq!(log.matches("Job succeeded").count(), 1, "{log}");
    let state = sandbox.server.state();
    let ended: Vec<&str> = state.updates.iter().map(|(_, body)| body["state"].as_str().unwrap()).collect();
    assert_eq!(ended, ["running", "success", "running", "success", "running", "success"]);
}

/// The readable log of one job, run in a sandbox that others have used.
fn log_of(sandbox: &Sandbox, job: Value) -> String {
    {
        let mut state = sandbox.server.state();
        state.log.clear();
        state.jobs.push_back(job);
    }
    sandbox.run(1);
    readable(&sandbox.server.log())
}

#[test]
fn the_log_of_get_sources_is_the_known_one() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let sha = repository(&sandbox);
    let log = log_of(&sandbox, git_job(1, &sandbox, &sha, &["cat file; touch untracked"]));
    let builds = sandbox.path("builds");
    for line in [
        "Fetching changes with git depth set to 20...".to_owned(),
        format!("Initialized empty Git repository in {}/project-42/.git/", builds.display()),
        "Created fresh repository.".to_owned(),
        format!("Checking out {} as detached HEAD (ref is main)...", &sha[..8]),
        "Skipping Git submodules setup".to_owned(),
        "two".to_owned(),
    ] {
        assert!(log.lines().any(|found| found == line), "{line} is not in\n{log}");
    }
    let mut again = git_job(2, &sandbox, &sha, &["ls", "cat sub/inner", "cat .git/config"]);
    set(&mut again, "GIT_SUBMODULE_STRATEGY", "normal");
    let log = log_of(&sandbox, again);
    for part in
        ["Reinitialized existing Git repository", "Removing untracked", "Updated submodules", "\ninner\n"]
    {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
    assert!(log.contains("project-42.tmp/.gitlab-runner.ext.conf"), "{log}");
    let mut full = git_job(3, &sandbox, &sha, &["git log --oneline | wc -l"]);
    full["git_info"]["depth"] = json!(0);
    let log = log_of(&sandbox, full);
    assert!(log.contains("Fetching changes...\n") && log.contains("\n2\n"), "{log}");
}

#[test]
fn a_fetch_that_fails_is_tried_again_after_a_cleaning() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let sha = repository(&sandbox);
    let mut job = git_job(1, &sandbox, &sha, &["true"]);
    job["git_info"]["refspecs"] = json!(["+refs/heads/gone:refs/remotes/origin/gone"]);
    job["steps"].as_array_mut().unwrap().push(json!({"name": "after_script", "script": ["echo after"]}));
    set(&mut job, "GET_SOURCES_ATTEMPTS", "2");
    let log = log_of(&sandbox, job);
    assert!(
        log.contains("WARNING: Retrying...") && log.contains("Deleting tracked and untracked files..."),
        "{log}"
    );
    assert!(log.contains("fatal: couldn't find remote ref refs/heads/gone"), "{log}");
    let runs: Vec<String> = sandbox.calls().into_iter().filter(|call| call.starts_with("run")).collect();
    let stages = ["prepare_script", "get_sources", "clear_worktree", "get_sources", "cleanup_file_variables"];
    assert_eq!(runs, stages.map(|stage| format!("run {stage}")));
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "script_failure".into(), 128));
}

#[test]
fn artifacts_go_up_and_come_down() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let mut build =
        job(1, &["mkdir -p out/deep", "echo x > out/deep/x.txt", "echo y > out/y.o", "printf raw > report"]);
    set(&mut build, "NAME", "made");
    build["artifacts"] = json!([
        {"name": "${NAME}-1", "paths": ["out/"], "exclude": ["out/*.o"], "artifact_type": "archive", "artifact_format": "zip",
            "expire_in": "1 week", "when": "on_success"},
        {"paths": ["report"], "artifact_type": "junit", "artifact_format": "gzip", "when": "always"},
        {"paths": ["report"], "artifact_type": "trace", "artifact_format": "raw", "when": "on_failure"},
    ]);
    let log = log_of(&sandbox, build);
    assert!(log.contains("out/: found 3 matching artifact files and directories"), "{log}");
    assert!(log.contains("out/*.o: excluded 1 files"), "{log}");
    let uploads = sandbox.server.state().uploads.clone();
    let queries: Vec<&str> = uploads.iter().map(|(query, _)| query.as_str()).collect();
    let archive = "artifact_format=zip&artifact_type=archive&expire_in=1+week";
    assert_eq!(queries, [archive, "artifact_format=gzip&artifact_type=junit"]);

    std::fs::remove_dir_all(sandbox.path("builds")).unwrap();
    sandbox.server.state().artifact = uploads[0].1.clone();
    let mut test = job(2, &["cat out/deep/x.txt", "ls out"]);
    test["dependencies"] = json!([
        {"id": 1, "name": "build", "token": "other", "artifacts_file": {"filename": "artifacts.zip", "size": 1}},
        {"id": 3, "name": "nothing", "token": "other"},
    ]);
    let log = log_of(&sandbox, test);
    assert!(log.contains("Downloading artifacts for build (1)...") && !log.contains("(3)"), "{log}");
    assert!(log.contains("\nx\n") && log.contains("$ ls out\ndeep\n"), "{log}");
    assert!(
        sandbox
            .server
            .state()
            .calls
            .contains(&"GET /api/v4/jobs/1/artifacts?direct_download=true".to_owned())
    );
}

#[test]
fn artifacts_of_a_failed_job_are_those_for_failures() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let mut job = job(1, &["echo x > log", "exit 3"]);
    job["artifacts"] = json!([
        {"paths": ["log"], "artifact_type": "archive", "artifact_format": "zip", "when": "on_failure"},
        {"paths": ["none"], "artifact_type": "junit", "artifact_format": "gzip", "when": "always"},
    ]);
    let log = log_of(&sandbox, job);
    assert!(sandbox.calls().contains(&"run upload_artifacts_on_failure".to_owned()));
    assert!(log.contains("ERROR: No files to upload"), "{log}");
    assert_eq!(sandbox.server.state().uploads.len(), 1);
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "script_failure".into(), 3));
}

#[test]
fn a_refused_upload_fails_the_job() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let go = sandbox.path("go");
    let mut job = job(1, &["echo x > log", &format!("until [ -e {} ]; do sleep 0.05; done", go.display())]);
    job["artifacts"] = json!([{"paths": ["log"], "artifact_type": "archive", "artifact_format": "zip"}]);
    sandbox.server.state().jobs.push_back(job);
    let child = sandbox.start(&["--max-builds", "1"]);
    crate::support::wait_for("the script", || sandbox.read("calls").contains("build_script"));
    sandbox.server.state().scripted.insert("POST", [(413, Vec::new())].into());
    std::fs::File::create(go).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    let log = readable(&sandbox.server.log());
    assert!(log.contains("FATAL: too large"), "{log}");
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "script_failure".into(), 1));
}

fn cached(id: u64, script: &[&str], cache: Value) -> Value {
    let mut job = job(id, script);
    job["cache"] = json!([cache]);
    job
}

#[test]
fn a_cache_is_kept_for_the_next_job() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let cache = json!({"key": "k-$CI_CONCURRENT_ID", "paths": [".cache/"], "policy": "pull-push", "when": "on_success"});
    let log = log_of(&sandbox, cached(1, &["mkdir .cache; echo kept > .cache/f"], cache.clone()));
    assert!(log.contains("Checking cache for k-0...") && log.contains("Failed to extract cache"), "{log}");
    assert!(log.contains("Creating cache k-0...") && log.contains("Created cache"), "{log}");
    assert!(sandbox.path("cache/hpc/solver/k-0/cache.zip").is_file());

    std::fs::remove_dir_all(sandbox.path("builds")).unwrap();
    let log = log_of(&sandbox, cached(2, &["cat .cache/f"], cache));
    assert!(log.contains("Successfully extracted cache") && log.contains("\nkept\n"), "{log}");
    assert!(log.contains("Primary cache does not exist remotely, uploading existing archive"), "{log}");

    std::fs::remove_dir_all(sandbox.path("builds")).unwrap();
    let fallback =
        json!({"key": "new", "paths": [".cache/"], "policy": "pull", "fallback_keys": ["none", "k-0"]});
    let log = log_of(&sandbox, cached(3, &["cat .cache/f"], fallback));
    assert!(log.contains("\nkept\n") && log.contains("Not uploading cache new due to policy"), "{log}");

    std::fs::remove_dir_all(sandbox.path("builds")).unwrap();
    let mut job =
        cached(4, &["cat .cache/f"], json!({"key": "newer", "paths": [".cache/"], "policy": "pull"}));
    set(&mut job, "CACHE_FALLBACK_KEY", "k-0");
    let log = log_of(&sandbox, job);
    assert!(log.contains("Checking cache for k-0...") && log.contains("\nkept\n"), "{log}");
}

#[test]
fn without_a_runner_in_path_caches_are_left_out_and_the_job_stays_green() {
    let driver = PLAIN_DRIVER.replace("bash \"$2\"", "PATH=/usr/bin:/bin bash \"$2\"");
    let sandbox = Sandbox::with_driver(Vec::new(), &driver, "");
    if sandbox
        .command("/bin/sh")
        .args(["-c", "PATH=/usr/bin:/bin command -v gitlab-runner"])
        .status()
        .unwrap()
        .success()
    {
        return;
    }
    let log = log_of(&sandbox, cached(1, &["mkdir c"], json!({"key": "k", "paths": ["c"]})));
    assert!(log.contains("Missing gitlab-runner. Extracting cache is disabled."), "{log}");
    assert!(log.contains("Missing gitlab-runner. Creating cache is disabled."), "{log}");
    assert_eq!(sandbox.server.outcome().0, "success");
}

#[test]
fn untracked_files_are_those_that_git_does_not_know() {
    let sandbox = Sandbox::with_driver(Vec::new(), PLAIN_DRIVER, "");
    let sha = repository(&sandbox);
    let mut job = git_job(1, &sandbox, &sha, &["echo n > new"]);
    job["artifacts"] = json!([{"untracked": true, "artifact_type": "archive", "artifact_format": "zip"}]);
    let log = log_of(&sandbox, job);
    assert!(log.contains("untracked: found 1 files"), "{log}");
    let packed = sandbox.server.state().uploads[0].1.clone();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(packed)).unwrap();
    assert_eq!(archive.len(), 1);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut archive.by_index(0).unwrap(), &mut text).unwrap();
    assert_eq!(text, "n\n");
}

#[test]
fn the_shell_executor_runs_a_job_too() {
    let sandbox = Sandbox::new(Vec::new());
    sandbox.configure("executor = \"shell\"\n");
    let sha = repository(&sandbox);
    let mut job = git_job(1, &sandbox, &sha, &["cat file", "pwd", "exit 9"]);
    set(&mut job, "CI_PROJECT_PATH", "g/p");
    let log = log_of(&sandbox, job);
    assert!(log.contains("Using Shell (bash) executor..."), "{log}");
    assert!(log.contains("\ntwo\n") && log.contains("builds/012345678/0/project-42"), "{log}");
    assert_eq!(sandbox.server.outcome(), ("failed".into(), "script_failure".into(), 9));
}
