//! The program: says where it is, plants its seed, ends when told.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

const SEED: &str = r#"{
  "settings": { "registry": "127.0.0.1:5000" },
  "projects": [{ "path": "hpc/solver" }],
  "tokens": [{ "project": "hpc/solver", "scopes": ["read_api"], "secret": "glpat-known" }],
  "jobs": [{ "project": "hpc/solver", "name": "unit", "job": { "script": ["true"], "tags": ["a"] } }]
}"#;

#[test]
fn it_plants_its_seed_and_ends_with_its_input() {
    let work = tempfile::tempdir().unwrap();
    let seed = work.path().join("seed.json");
    std::fs::write(&seed, SEED).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gitlab-stand-in"))
        .args(["--stop-with-stdin", "--state-dir"])
        .arg(work.path().join("state"))
        .arg("--seed")
        .arg(&seed)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = format!("{}/api/v4/projects/hpc%2Fsolver/jobs", ready["url"].as_str().unwrap());
    let mut answer = ureq::get(&url).header("PRIVATE-TOKEN", "glpat-known").call().unwrap();
    let jobs: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(jobs[0]["name"], "unit");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_bad_seed_is_named() {
    let work = tempfile::tempdir().unwrap();
    let seed = work.path().join("seed.json");
    std::fs::write(&seed, r#"{ "job": [] }"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gitlab-stand-in"))
        .args(["--stop-with-stdin", "--state-dir"])
        .arg(work.path())
        .arg("--seed")
        .arg(&seed)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot read the seed: unknown field `job`"), "{stderr}");
}
