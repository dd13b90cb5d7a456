//! Where the repository and its build output are, and the cargo that builds it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that are shipped: the binaries of the workspace's default members.
pub(crate) const PROGRAMS: &[&str] =
    &["gitlab-meta-runner", "meta-configure", "meta-executor", "meta-launcher", "meta-register"];

/// The folder of the root manifest, as it was when this program was built: cargo builds it anew in a moved checkout.
pub(crate) fn repository() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The cargo that runs this task, in the repository.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(program);
    command.current_dir(repository());
    command
}
