//! Real clients against the GitLab stand-in: what they do not take from GitLab, it must not send.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use end_to_end::bed::image;
use end_to_end::cluster::{Cluster, PROJECT};
use serde_json::Value;
use tempfile::TempDir;

use crate::Test;

pub(crate) const TESTS: &[Test] =
    &[("clients: python3-gitlab", python_library), ("clients: glab", command_line)];

const CONFIG: &str = "first: {tags: [big], script: [echo]}\nsecond: {tags: [big], script: [echo]}\n";

fn python_library() {
    let cluster = Cluster::new("");
    cluster.push_and_start(&[(".gitlab-ci.yml", CONFIG)]);
    let script = include_str!("clients/library.py");
    let mut python = Command::new("python3");
    python.args(["-c", script, cluster.gitlab.url(), cluster.gitlab.root_token()]);
    assert_eq!(output(&mut python), "done\n");
}

/// glab, logged in, in the checkout.
struct Glab {
    home: TempDir,
    checkout: PathBuf,
}

impl Glab {
    fn new(cluster: &Cluster) -> Self {
        let home = TempDir::new().expect("the bed has a /tmp");
        let host = cluster.gitlab.url().trim_start_matches("http://");
        let token = cluster.gitlab.root_token();
        let text = format!(
            "check_update: false\nhost: {host}\nhosts:\n  {host}:\n    api_protocol: http\n    api_host: {host}\n    token: {token}\n"
        );
        let file = home.path().join("config.yml");
        fs::write(&file, text).expect("the home is new");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        Self { home, checkout: cluster.site.path().join("checkout") }
    }

    fn run(&self, words: &str) -> String {
        let mut command = Command::new("timeout");
        command.args(["20", "glab"]).args(words.split_whitespace()).current_dir(&self.checkout);
        output(command.env("GLAB_CONFIG_DIR", self.home.path()).env("NO_PROMPT", "1"))
    }
}

fn command_line() {
    let cluster = Cluster::new("");
    let job = format!(
        "image: {}\n  tags: [big]\n  variables: {{GIT_STRATEGY: none}}\n  script: [echo it ran]\n",
        image("busybox:latest")
    );
    let config = format!("first:\n  {job}second:\n  {job}");
    let jobs = cluster.push_and_start(&[(".gitlab-ci.yml", &config)]);
    let glab = Glab::new(&cluster);
    let expect = |words: &str, text: &str| {
        let answer = glab.run(words);
        assert!(answer.contains(text), "`glab {words}` does not say `{text}`:\n{answer}");
    };
    expect("auth status", "Logged in to");
    let [(_, first), (_, second)] = jobs[..] else { panic!("not two jobs: {jobs:?}") };
    expect(&format!("ci cancel job {second} -R {PROJECT}"), "is canceled successfully");
    cluster.run_in_queue(1);
    expect(&format!("ci trace {first} -R {PROJECT}"), "it ran");
    expect(&format!("ci retry {second} -R {PROJECT}"), "Retried job");
    expect(&format!("ci run -R {PROJECT} -b main"), "status: pending");
    expect(&format!("ci list -R {PROJECT}"), "Showing 2 pipelines");
    expect(&format!("ci status -R {PROJECT} -b main"), "Pipeline state: pending");
    let pages = glab.run("api --paginate projects/hpc%2Fsolver/jobs?per_page=2");
    let pages = serde_json::Deserializer::from_str(&pages).into_iter::<Value>();
    let sizes = pages.map(|page| page.expect("a page is JSON").as_array().map_or(0, Vec::len));
    assert_eq!(sizes.collect::<Vec<_>>(), [2, 2, 1], "two pipelines of two jobs, one of them tried again");
    for pipeline in cluster.gitlab.state()["pipelines"].as_array().into_iter().flatten() {
        let id = &pipeline["id"];
        expect(&format!("ci get -R {PROJECT} -p {id} -F json"), "\"status\":\"pending\"");
        expect(&format!("ci cancel pipeline {id} -R {PROJECT}"), "is canceled successfully");
        expect(&format!("ci get -R {PROJECT} -p {id} -F json"), "\"status\":\"canceled\"");
    }
}

/// Both streams of a client that succeeds. One that waits for ever is ended.
fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the client starts");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {text}");
    text
}
