//! What a job sees of the node because the configuration says so.

use std::fs;

use end_to_end::bed::image;
use end_to_end::executor::SYSTEM_FAILURE;
use serde_json::json;

use crate::LevelTest;
use crate::barriers::executable;
use crate::inside::site;

pub(crate) const TESTS: &[LevelTest] = &[
    ("inside: mounts of files and directories, also on devices and through links of the image", mounts),
    ("inside: a mount of what is not there fails before the job", missing_mount),
    ("inside: GPU flags on a node without one are silent", gpu_flags),
    ("inside: libraries and tools of a GPU, as Apptainer finds them", gpu_tools),
];

fn mounts(level: &str) {
    let outside = tempfile::TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let at = outside.path().display();
    fs::create_dir(outside.path().join("data")).expect("the directory is new");
    for name in ["data/file", "license"] {
        fs::write(outside.path().join(name), format!("{name}\n")).expect("the directory is new");
    }
    // /bin and /var/run are links in Debian's image.
    let mounts = [
        format!("{at}/data:/data"),
        format!("{at}/data:/deep/er/ro:ro"),
        format!("{at}/license:/opt/site/license:ro"),
        format!("{at}/license:/bin/license"),
        format!("{at}/data:/var/run/data"),
        format!("{at}/data:/dev/fake"),
        format!("{at}/data:/with, comma"),
    ];
    let site = site(level, &format!("mount = {mounts:?}"));
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    let script = "cat /data/file /deep/er/ro/file /opt/site/license /usr/bin/license /run/data/file /dev/fake/file '/with, comma/file'\n\
        echo made > /data/made; (: > /deep/er/ro/no) 2>/dev/null || echo read-only; (: >> /opt/site/license) 2>/dev/null || echo read-only";
    let log = job.run("build_script", script).success();
    let expected =
        "data/file\ndata/file\nlicense\nlicense\ndata/file\ndata/file\ndata/file\nread-only\nread-only\n";
    assert_eq!(log, expected);
    assert!(outside.path().join("data/made").exists());
    // A job that puts a link in the place of the directory above leads nobody out of the image: as with docker, the link leads
    // to a place inside.
    let evil = format!("mv /deep /old; ln -s {at} /deep");
    job.run("build_script", &evil).success();
    assert_eq!(job.run("after_script", "cat /deep/er/ro/file").success(), "data/file\n");
    let names: Vec<_> =
        fs::read_dir(outside.path()).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn missing_mount(level: &str) {
    let site = site(level, "mount = [\"/scratch/nothing-here:/data\"]");
    let ended = site.job(&image("busybox:latest"), json!({})).prepare();
    ended.failed(
        SYSTEM_FAILURE,
        "`/scratch/nothing-here`, which `mount` in `[executor]` names, is not on node",
    );
}

fn gpu_flags(level: &str) {
    let site = site(level, "gpu_nvidia = true");
    let job = site.job(&image("debian:sid"), json!({})).prepared();
    assert_eq!(job.run("build_script", "echo done").success(), "done\n");
}

/// Of AMD's tools the node has a `rocminfo` of ours, and of the libraries in Apptainer's list one that Slurm needs, too.
fn gpu_tools(level: &str) {
    let site = site(level, "gpu_amd = \"${GPU:true}\"");
    let programs = site.path().join("programs");
    fs::create_dir(&programs).expect("the directory is the test's");
    executable(&programs.join("rocminfo"), "#!/bin/sh\necho a GPU\n");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let job = site
        .job(&image("debian:sid"), json!({}))
        .with_environment("PATH", &path)
        .with_environment("CUSTOM_ENV_LD_LIBRARY_PATH", "/opt/lib")
        .prepared();
    let log = job.run("build_script", "rocminfo; echo $LD_LIBRARY_PATH; ls ${LD_LIBRARY_PATH#*:}").success();
    let libraries = log.strip_prefix("a GPU\n/opt/lib:/.singularity.d/libs\n");
    assert!(libraries.is_some_and(|list| list.contains("libnuma.so.1\n")), "{log}");
}
