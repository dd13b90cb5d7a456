//! podman, the judge of what an image does.

use std::io::Write;
use std::process::{Command, Stdio};

/// What podman makes of the same.
pub(crate) struct Podman {
    pub(crate) log: String,
    pub(crate) code: i32,
}

/// Runs an image with `words` behind `podman run`, and `script` on stdin.
pub(crate) fn podman(words: &[&str], script: &str) -> Podman {
    let mut podman = Command::new("podman");
    podman.args(["run", "--rm", "--interactive", "--quiet", "--pull=newer"]).args(words);
    podman.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = podman.spawn().expect("podman starts");
    // An entrypoint need not read its input.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(script.as_bytes());
    let output = child.wait_with_output().expect("podman ends");
    let log =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Podman { log, code: output.status.code().unwrap_or(-1) }
}
