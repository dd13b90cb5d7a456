//! Jobs from `pending` in GitLab through the real batch queue and real Apptainer to their result.

use std::fs;

use end_to_end::bed::image;
use end_to_end::cluster::{Cluster, PROJECT};
use serde_json::json;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("pipelines: a job goes through the queue to success", one_job),
    ("pipelines: checkout, artifacts, cache, entrypoint, exit codes", || sample_pipeline("")),
    ("pipelines: the same at level B", || sample_pipeline("level = \"B\"")),
    ("pipelines: the same at level C", || sample_pipeline("level = \"C\"")),
    ("pipelines: the same on the host's paths, in slots", || {
        sample_pipeline("same_paths = true\nkeep_builds = true");
    }),
    ("pipelines: an image that is absent fails its job alone", absent_image),
];

fn one_job() {
    let cluster = Cluster::new("");
    let job = json!({ "image": image("busybox:latest"), "tags": ["big"], "script": ["echo in $SLURM_JOB_ID"], "variables": { "GIT_STRATEGY": "none" } });
    let id = cluster.gitlab.enqueue(PROJECT, job);
    let log = cluster.run_in_queue(1);
    let job = cluster.job(id);
    assert_eq!(job["status"], "success", "{log}\n{job:#}");
    let trace = job["trace"].as_str().unwrap_or_default();
    assert!(trace.contains("Using Apptainer") && trace.contains("Job succeeded"), "{trace}");
    // The bed's note says which gitlab-runner it was given; a real one must not be hidden by the stand-in.
    let note = fs::read_to_string("/etc/bed-runner").expect("the bed has the note");
    let first = trace.lines().find(|line| line.contains("Running with gitlab-runner")).unwrap_or_default();
    assert_eq!(first.contains("(stand-in)"), note.starts_with("stand-in "), "{note}{first}");
    let node = hostname();
    assert!(trace.contains("Running on runner-") && trace.contains(&format!(" via {node}...")), "{trace}");
    assert_eq!(cluster.site.jobs_left(), Vec::<std::path::PathBuf>::new());
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("proc is mounted");
    name.trim().to_owned()
}

fn sample_pipeline(executor: &str) {
    let cluster = Cluster::new(executor);
    let config = format!(
        "stages: [build, test]
build:
  stage: build
  image: {busybox}
  script: [cat README, mkdir out, echo built > out/result]
  artifacts: {{ paths: [out/] }}
test:
  stage: test
  image: {debian}
  cache: {{ key: one, paths: [.cache/] }}
  script: [grep built out/result, mkdir -p .cache, date > .cache/stamp]
  after_script: [echo after]
entrypoint:
  stage: test
  image: {entrypoint}
  script: ['test \"$FROM_ENTRYPOINT\" = \"set by the entrypoint\"']
fails:
  stage: test
  image: {busybox}
  script: [exit 42]
  allow_failure: true
",
        busybox = image("busybox:latest"),
        debian = image("debian:sid"),
        entrypoint = image("entrypoint:latest"),
    );
    let jobs = cluster.push_and_start(&[(".gitlab-ci.yml", &config), ("README", "read me\n")]);
    let log = cluster.run_in_queue(jobs.len());
    for (name, id) in &jobs {
        let job = cluster.job(*id);
        let (status, code) = if name == "fails" { ("failed", json!(42)) } else { ("success", json!(0)) };
        assert_eq!(job["status"], status, "{name}: {log}\n{}", job["trace"].as_str().unwrap_or_default());
        assert!(status == "success" || job["exit_code"] == code, "{name}: {job:#}");
    }
    assert_eq!(jobs.len(), 4);
}

fn absent_image() {
    let cluster = Cluster::new("");
    let job = |name: &str| json!({ "image": image(name), "script": ["true"], "variables": { "GIT_STRATEGY": "none" } });
    let absent = cluster.gitlab.enqueue(PROJECT, job("nothere:1"));
    let present = cluster.gitlab.enqueue(PROJECT, job("busybox:latest"));
    let log = cluster.run_in_queue(2);
    let (absent, present) = (cluster.job(absent), cluster.job(present));
    assert_eq!(
        (&absent["status"], &absent["failure_reason"]),
        (&json!("failed"), &json!("script_failure")),
        "{log}"
    );
    let trace = absent["trace"].as_str().unwrap_or_default();
    assert!(trace.contains("manifest unknown") && trace.contains("hint: check the image's name"), "{trace}");
    assert_eq!(present["status"], "success", "{log}");
}
