//! The real git against the stand-in.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::client::{call, run_next, stand_in, update_job};

fn git(directory: &Path, arguments: &[&str]) -> bool {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"];
    let output = Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn a_push_makes_a_pipeline_that_a_job_token_can_fetch() {
    let server = stand_in();
    server.add_project_with(json!({ "path": "hpc/tool", "repository": true }));
    let work = tempfile::tempdir().unwrap();
    let with_login =
        |login: &str| server.url().replace("http://", &format!("http://{login}@")) + "/hpc/tool.git";
    assert!(git(work.path(), &["init", "--quiet", "-b", "main", "source"]));
    let source = work.path().join("source");
    std::fs::write(source.join(".gitlab-ci.yml"), "unit: {script: [echo unit]}\n").unwrap();
    assert!(git(&source, &["add", "."]) && git(&source, &["commit", "--quiet", "-m", "First"]));
    let reader = json!({ "project": "hpc/tool", "role": "developer", "scopes": ["read_repository"] });
    let reader = with_login(&format!("x:{}", server.create_token(reader)));
    assert!(!git(&source, &["push", "--quiet", &reader, "main"]), "a token that may only read");
    let url = with_login(&format!("root:{}", server.root_token()));
    assert!(git(&source, &["push", "--quiet", &url, "main"]));

    let root = server.root_token();
    let made = call(&server, root, "POST", "/projects/hpc%2Ftool/pipeline", json!({ "ref": "main" }));
    assert_eq!(made.status, 201, "{}", made.text);
    let missing = call(&server, root, "POST", "/projects/hpc%2Ftool/pipeline", json!({ "ref": "none" }));
    assert_eq!(missing.json()["message"]["base"][0], "Reference not found");

    let commit =
        call(&server, root, "GET", "/projects/hpc%2Ftool/repository/commits/main", json!(null)).json();
    assert_eq!(commit["title"], "First");
    assert_eq!(commit["last_pipeline"]["id"], made.json()["id"]);

    let (_, token) = server.add_runner(json!({ "path": "hpc/tool", "run_untagged": true }));
    let job = run_next(&server, &token);
    assert_eq!(job["git_info"]["sha"], made.json()["sha"]);
    let repository = job["git_info"]["repo_url"].as_str().unwrap();
    let refspec = job["git_info"]["refspecs"][0].as_str().unwrap();
    let clone = work.path().join("clone");
    assert!(git(work.path(), &["init", "--quiet", "clone"]));
    assert!(git(&clone, &["fetch", "--quiet", "--depth", "20", repository, refspec]));
    assert!(git(&clone, &["checkout", "--quiet", job["git_info"]["sha"].as_str().unwrap()]));
    assert!(clone.join(".gitlab-ci.yml").exists());
    assert!(!git(&source, &["push", "--quiet", repository, "main:other"]), "a job may not push");
    update_job(&server, &job, json!({ "state": "success" }));
    assert!(!git(&clone, &["fetch", "--quiet", repository, refspec]), "the token ends with the job");
}
