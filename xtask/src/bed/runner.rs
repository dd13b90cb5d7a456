//! Which gitlab-runner the bed has: the host's real one, or the stand-in from the target folder.

use super::{configure, install, mounts};
use crate::failure::{During, Result};
use std::fs;
use std::path::PathBuf;

const PATH: &str = "/usr/local/bin/gitlab-runner";
const STAND_IN: &str = "/opt/target/debug/gitlab-runner";

/// Says which of the two it is; shown by `status`, read by the end-to-end tests.
pub(super) const NOTE: &str = "/etc/bed-runner";

/// The real program, if this machine has one.
fn real() -> Option<PathBuf> {
    match std::env::var_os("META_RUNNER_GITLAB_RUNNER") {
        Some(named) => Some(PathBuf::from(named)),
        None => install::find("gitlab-runner"),
    }
}

/// Makes `gitlab-runner` in the bed's PATH; called in the bed's mount namespace, before the host's files are gone.
pub(super) fn place() -> Result<()> {
    let path = configure::in_root(PATH);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).during(|| format!("remove `{}`", path.display()));
        }
        _ => {}
    }
    let note = if let Some(program) = real() {
        configure::write_file(&path, "")?;
        mounts::bind(&program, &path)?;
        format!("real {}\n", program.display())
    } else {
        std::os::unix::fs::symlink(STAND_IN, &path).during(|| format!("link `{}`", path.display()))?;
        format!("stand-in {STAND_IN}\n")
    };
    configure::write_file(&configure::in_root(NOTE), &note)
}
