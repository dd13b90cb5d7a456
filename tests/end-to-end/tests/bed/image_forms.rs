//! Images that are not a distribution: where their shell is, and what docker adds to them.

use std::fs;

use end_to_end::bed::{image, make_image};
use end_to_end::executor::{BUILD_FAILURE, Site};
use serde_json::json;
use tempfile::TempDir;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("image forms: the shell is found on the image's PATH (level A)", || own_path("A")),
    ("image forms: the shell is found on the image's PATH (level B)", || own_path("B")),
    ("image forms: the shell is found on the image's PATH (level C)", || own_path("C")),
    ("image forms: volumes that the image lacks are there (level A)", || volumes("A")),
    ("image forms: volumes that the image lacks are there (level B)", || volumes("B")),
    ("image forms: volumes that the image lacks are there (level C)", || volumes("C")),
    ("image forms: bash without sh is refused as docker refuses it, with a reason", bash_alone),
];

/// As the debug variants of distroless images and of kaniko.
fn own_path(level: &str) {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    fs::copy("/usr/bin/busybox", directory.path().join("busybox")).expect("the bed has busybox");
    let containerfile = "FROM scratch\nCOPY busybox /busybox/busybox\n\
        RUN [\"/busybox/busybox\", \"--install\", \"-s\", \"/busybox\"]\n\
        ENV PATH=/usr/local/bin:/busybox\nENTRYPOINT [\"/busybox/nosuchtool\"]\n";
    let name = make_image(directory.path(), &format!("debug-{}:1", level.to_lowercase()), containerfile);
    let site = Site::new(&format!("level = \"{level}\""));
    let job = site.job(&name, json!({ "image": { "entrypoint": [""] } })).prepared();
    let log = job.run("build_script", "echo $PATH; ls -d /busybox; pwd; exit 3");
    assert_eq!((log.code, log.script_code.as_deref()), (BUILD_FAILURE, Some("3")), "{}", log.log);
    assert_eq!(log.log, "/usr/local/bin:/busybox\n/busybox\n/\n");
}

fn volumes(level: &str) {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let containerfile = format!(
        "FROM {}\nRUN mkdir /data && echo seed >/data/seed\nVOLUME /data /var/lib/none\n",
        image("busybox:latest")
    );
    let name = make_image(directory.path(), &format!("volumes-{}:1", level.to_lowercase()), &containerfile);
    let site = Site::new(&format!("level = \"{level}\""));
    let job = site.job(&name, json!({})).prepared();
    let log = job.run("build_script", "cat /data/seed; echo x >/var/lib/none/file; cat /var/lib/none/file");
    assert_eq!(log.success(), "seed\nx\n");
}

fn bash_alone() {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let containerfile = format!("FROM {}\nRUN rm -f /usr/bin/sh /bin/sh\n", image("debian:sid"));
    let name = make_image(directory.path(), "bash-alone:1", &containerfile);
    let site = Site::new("");
    site.job(&name, json!({})).prepare().failed(BUILD_FAILURE, "has no shell: there is no `sh` in it");
}
