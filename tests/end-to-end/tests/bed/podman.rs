//! podman, the judge of what an image does.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// What podman makes of the same.
pub(crate) struct Podman {
    pub(crate) log: String,
    pub(crate) code: i32,
}

/// Runs an image with `words` behind `podman run`, and `script` on stdin.
///
/// What it wrote is read from podman's log: podman itself may not pass on what a container writes right before its end.
pub(crate) fn podman(words: &[&str], script: &str) -> Podman {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let id_file = directory.path().join("id");
    let mut podman = Command::new("podman");
    podman.args(["run", "--interactive", "--quiet", "--pull=newer", "--log-driver=k8s-file", "--cidfile"]);
    podman.arg(&id_file).args(words);
    podman.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = podman.spawn().expect("podman starts");
    // An entrypoint need not read its input.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(script.as_bytes());
    let output = child.wait_with_output().expect("podman ends");
    let id = fs::read_to_string(&id_file)
        .unwrap_or_else(|_| panic!("no container: {}", String::from_utf8_lossy(&output.stderr)));
    let log = of_container("logs", &id);
    of_container("rm", &id);
    Podman { log, code: output.status.code().unwrap_or(-1) }
}

/// What podman's `command` says of the container `id`, stdout first.
fn of_container(command: &str, id: &str) -> String {
    let output = Command::new("podman").args([command, id]).output().expect("podman starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
