//! Helper stages in an image.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use end_to_end::bed::{self, image};
use end_to_end::executor::{BUILD_FAILURE, SYSTEM_FAILURE, Site};
use serde_json::json;
use tempfile::TempDir;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("helper: stages run in the helper image (level A)", || stages("A")),
    ("helper: stages run in the helper image (level B)", || stages("B")),
    ("helper: stages run in the helper image (level C)", || stages("C")),
    ("helper: an image without git or gitlab-runner is refused", unfit),
];

/// Busybox with a `git` and the program that GitLab's own helper images have.
fn make_image(directory: &Path, name: &str) -> String {
    for (program, text) in [
        ("git", "#!/bin/sh\necho \"git of the image: $*\"\n"),
        ("gitlab-runner-helper", "#!/bin/sh\necho \"helper of the image: $*\"\n"),
    ] {
        let path = directory.join(program);
        fs::write(&path, text).expect("the directory is new");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }
    let containerfile = format!(
        "FROM {}\nCOPY git gitlab-runner-helper /usr/bin/\nENV FROM_IMAGE=yes\n",
        image("busybox:latest")
    );
    bed::make_image(directory, name, &containerfile)
}

fn stages(level: &str) {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let helper = make_image(directory.path(), &format!("helper-{}:1", level.to_lowercase()));
    let site = Site::new(&format!("level = \"{level}\"\nhelper = \"image\"\nhelper_image = \"{helper}\""));
    // The node needs neither.
    let job = site.job(&image("debian:sid"), json!({})).with_environment("PATH", "/usr/bin:/bin");
    let answer: serde_json::Value =
        serde_json::from_str(&job.config().success()).expect("config prints JSON");
    let builds = answer["builds_dir"].as_str().expect("config answers with directories").to_owned();
    let job = job.with_environment("CUSTOM_ENV_WORD", "it's").prepared();
    let script = format!(
        "git clone x; gitlab-runner artifacts-uploader --a b; umask; echo \"$FROM_IMAGE $WORD\"; echo text > {builds}/f; touch ~/kept"
    );
    let log = job.run("get_sources", &script).success();
    assert_eq!(
        log,
        "git of the image: clone x\nhelper of the image: artifacts-uploader --a b\n0000\nyes it's\n"
    );
    // Kept between its own stages, apart from the job's image.
    job.run("upload_artifacts_on_success", &format!("ls ~/kept && cat {builds}/f")).success();
    let log =
        job.run("build_script", &format!("cat {builds}/f; ls ~/kept /usr/bin/gitlab-runner-helper")).log;
    assert!(log.starts_with("text\n") && log.matches("No such file").count() == 2, "{log}");
    let ended = job.run("get_sources", "exit 128");
    assert_eq!((ended.code, ended.script_code.as_deref()), (BUILD_FAILURE, Some("128")), "{}", ended.log);
    job.cleanup().success();
    assert_eq!(site.jobs_left(), Vec::<PathBuf>::new());
}

fn unfit() {
    let site = Site::new(&format!("helper = \"image\"\nhelper_image = \"{}\"", image("busybox:latest")));
    let ended = site.job(&image("busybox:latest"), json!({})).prepare();
    ended.failed(SYSTEM_FAILURE, "has no git, or no gitlab-runner or gitlab-runner-helper");
}
