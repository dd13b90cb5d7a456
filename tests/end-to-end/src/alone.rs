//! What a stage is made of, without us: namespaces like a pod's by unshare(1), and in them bash or Apptainer. This is what a
//! driver of our kind costs at the least.

use std::path::Path;
use std::process::Command;

/// The node's bash, as in a helper stage. It reads its script from stdin.
pub fn helper_stage() -> Command {
    in_namespaces("bash")
}

/// Apptainer with the image's bash, as in a stage in the job's image. `rootfs` is the unpacked image.
pub fn image_stage(rootfs: &Path) -> Command {
    let mut command = in_namespaces("apptainer");
    command
        .args(["-s", "exec", "--contain", "--cleanenv", "--no-eval", "--writable"])
        .args(["--no-mount", "home,cwd,hostfs,bind-paths,tmp,dev,devpts", "--cwd", "/"])
        .arg(rootfs)
        .arg("bash");
    command
}

fn in_namespaces(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-auto", "--map-root-user", "--mount", "--pid", "--fork", "--ipc", "--uts"])
        .args(["--mount-proc", program]);
    command
}
