//! Which image a job gets, and what it is told when it gets none.

use std::fs;
use std::thread;

use end_to_end::bed::image;
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE, Site};
use serde_json::json;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("images: two names with one tag are two images", two_names_with_one_tag),
    ("images: the log says what docker's would", the_log),
    ("images: the default image, and none", default_image),
    ("images: only allowed ones", allowed_images),
    ("images: unknown, invalid, without a shell", what_can_never_work),
    ("images: registry down is a system failure", registry_down),
    ("images: pull policies", pull_policies),
    ("images: missing Apptainer", missing_apptainer),
    ("images: jobs at once pull once", pulls_once),
    ("images: a broken entry is not used", broken_entry),
    ("images: whiteouts, links and modes of layers", layers),
];

const EVERY_POLICY: &str = r#"allowed_pull_policies = ["always", "if-not-present", "never"]"#;

fn two_names_with_one_tag() {
    let site = Site::new("");
    let shell_of = |name: &str| {
        site.job(&image(name), json!({})).prepared().run("build_script", "cat /etc/os-release").log
    };
    assert!(shell_of("ubuntu:22.04").contains("debian"), "the Debian image goes by this name here");
    assert!(!shell_of("evil/tool:22.04").contains("debian"), "the busybox image has no os-release");
}

fn the_log() {
    let site = Site::new("description = \"on ${SITE}\"");
    let log = site.job(&image("busybox:latest"), json!({})).prepare().success();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("Using Apptainer 1.") && lines[0].ends_with("network: host"), "{log}");
    assert_eq!(lines[1], "on bed");
    assert_eq!(
        lines[2],
        "Using effective pull policy of [always] for container 127.0.0.1:5000/busybox:latest"
    );
    assert_eq!(lines[3], "Pulling docker image 127.0.0.1:5000/busybox:latest ...");
    assert!(lines[4].starts_with("Using docker image sha256:"), "{log}");
    assert!(
        lines[4].contains("for 127.0.0.1:5000/busybox:latest with digest 127.0.0.1:5000/busybox@sha256:"),
        "{log}"
    );
    assert_eq!(lines.len(), 5, "{log}");
}

fn default_image() {
    let name = image("busybox:latest");
    let noshell = image("noshell:latest");
    let ended = Site::new(&format!("image = \"{noshell}\"")).job("", json!({})).prepare();
    let hint = "`-slim`) in `image` in `[executor]`, which is the administrator's";
    ended.failed(BUILD_FAILURE, &format!("the image \"{noshell}\" has no shell"));
    assert!(ended.log.contains(hint), "{}", ended.log);
    let with_default = Site::new(&format!("image = \"{name}\""));
    assert!(with_default.job("", json!({})).prepare().success().contains("Using default image"));
    // docker expands it with the job's variables; in our configuration their dollar is written `$$`.
    let of_the_job = Site::new("image = \"127.0.0.1:5000/$${NAME}:latest\"");
    let log = of_the_job
        .job("", json!({ "variables": [{ "key": "NAME", "value": "busybox" }] }))
        .prepare()
        .success();
    assert!(log.contains("Pulling docker image 127.0.0.1:5000/busybox:latest ..."), "{log}");
    let without = Site::new("");
    without
        .job("", json!({}))
        .prepare()
        .failed(BUILD_FAILURE, "ERROR: this job names no image and the runner has no default");
}

fn allowed_images() {
    let site = Site::new(&format!("allowed_images = [\"{}/b*:*\"]", end_to_end::bed::REGISTRY));
    site.job(&image("busybox:latest"), json!({})).prepare().success();
    let ended = site.job(&image("debian:sid"), json!({})).prepare();
    ended.failed(
        BUILD_FAILURE,
        "ERROR: The \"127.0.0.1:5000/debian:sid\" image is not present on list of allowed images:\n- 127.0.0.1:5000/b*:*\nhint: ",
    );
    assert!(!ended.log.contains("Pulling"), "{}", ended.log);
    let default =
        Site::new(&format!("image = \"{}\"\nallowed_images = [\"other\"]", image("busybox:latest")));
    default.job(&image("busybox:latest"), json!({})).prepare().success();
    let odd = Site::new("allowed_images = [\"[a\"]").job(&image("busybox:latest"), json!({})).prepare();
    odd.failed(BUILD_FAILURE, "warning: a glob of `[executor]`: error parsing glob '[a'");
}

fn what_can_never_work() {
    let site = Site::new("");
    let prepare = |name: &str| site.job(name, json!({})).prepare();
    prepare(&image("nothere:1")).failed(BUILD_FAILURE, "manifest unknown");
    prepare("Bad Name")
        .failed(BUILD_FAILURE, "invalid reference format: repository name (Bad Name) must be lowercase");
    prepare(&image("noshell:latest")).failed(BUILD_FAILURE, "has no shell");
    let user = json!({ "image": { "executor_opts": { "docker": { "user": "nosuchuser" } } } });
    site.job(&image("busybox:latest"), user)
        .prepare()
        .failed(BUILD_FAILURE, "the image has no user `nosuchuser`");
}

fn registry_down() {
    let site = Site::new("");
    let ended = site.job("127.0.0.1:1/busybox", json!({})).prepare();
    ended.failed(SYSTEM_FAILURE, "cannot reach http://127.0.0.1:1/v2/busybox/manifests/latest");
    ended.failed(SYSTEM_FAILURE, "hint: the registry is down");
}

fn pull_policies() {
    let site = Site::new(&format!("pull_policy = \"if-not-present\"\n{EVERY_POLICY}"));
    let with_policy =
        |policy: &str| site.job(&image("busybox:latest"), json!({ "image": { "pull_policy": [policy] } }));
    with_policy("never").prepare().failed(BUILD_FAILURE, "no such image on this node");
    assert!(with_policy("if-not-present").prepare().success().contains("Pulling docker image"));
    let again = with_policy("if-not-present").prepare().success();
    assert!(
        again.contains("Using locally found image version due to \"if-not-present\" pull policy"),
        "{again}"
    );
    assert!(!with_policy("never").prepare().success().contains("Pulling"));
    let strict = Site::new("");
    strict
        .job(&image("busybox:latest"), json!({ "image": { "pull_policy": ["never"] } }))
        .prepare()
        .failed(BUILD_FAILURE, "is not one of the allowed_pull_policies ([always])");
}

fn missing_apptainer() {
    let site = Site::new("apptainer_executable = \"no-such-apptainer\"");
    let ended = site.job(&image("busybox:latest"), json!({})).prepare();
    ended.failed(SYSTEM_FAILURE, "cannot find `no-such-apptainer`");
    ended.failed(SYSTEM_FAILURE, "hint: install Apptainer on the compute nodes");
}

fn pulls_once() {
    let site = Site::new("");
    let jobs: Vec<_> = (0..8).map(|_| site.job(&image("multilayer:latest"), json!({}))).collect();
    thread::scope(|scope| {
        for job in &jobs {
            scope.spawn(|| job.prepare().success());
        }
    });
    assert_eq!(site.images().len(), 1, "{:?}", site.images());
    for job in &jobs {
        job.cleanup().success();
    }
    assert_eq!(site.jobs_left(), Vec::<std::path::PathBuf>::new());
}

fn broken_entry() {
    let site = Site::new(&format!("pull_policy = \"if-not-present\"\n{EVERY_POLICY}"));
    site.job(&image("busybox:latest"), json!({})).prepared();
    let entry = site.images().remove(0);
    fs::remove_file(entry.join("config.json")).expect("a complete entry has its configuration");
    let job = site.job(&image("busybox:latest"), json!({})).prepared();
    assert!(entry.join("config.json").exists(), "the entry was made anew");
    job.run("build_script", "true").success();
}

/// What the layers of `multilayer` leave, in whatever form they come.
fn layers() {
    let site = Site::new("");
    let script = "find / -xdev -name '.wh.*'; cd /data; find . | sort; cat kept/file replaced/new file-then-folder/new; \
        stat -c '%n %a %h' link-1 setgid kept/file /usr/bin/setuid-id; stat -c '%u' kept; cat closed/file; readlink dangling";
    let expected = ". ./a name with spaces ./closed ./closed/file ./dangling ./file-then-folder ./file-then-folder/new ./folder-then-file \
        ./kept ./kept/file ./link-1 ./link-2 ./link-3 ./replaced ./replaced/new ./setgid kept new new \
        link-1 644 2 setgid 2775 2 kept/file 640 1 /usr/bin/setuid-id 4755 1 1234 inside missing";
    for form in ["latest", "zstd", "chunked"] {
        let job = site.job(&image(&format!("multilayer:{form}")), json!({})).prepared();
        let log = job.run("build_script", script).success();
        assert_eq!(
            log.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
    }
}
