//! The system id: names this installation of the runner to GitLab.

use std::path::Path;

use crate::random;

const FILE: &str = ".runner_system_id";

/// Reads the id from beside the configuration file; makes and keeps a new one if there is no good one.
pub(super) fn load_or_create(directory: &Path) -> String {
    let path = directory.join(FILE);
    if let Ok(content) = std::fs::read_to_string(&path) {
        let id = content.trim();
        if is_valid(id) {
            return id.to_owned();
        }
    }
    let id = generate();
    // A directory that can't be written to only costs a new id next time, as with the real runner.
    #[expect(clippy::disallowed_methods, reason = "no temporary file beside the admin's configuration")]
    let _ = std::fs::write(&path, &id);
    id
}

/// The real runner derives `s_...` from the machine id where there is one. Tests want no two beds to be equal.
pub(super) fn generate() -> String {
    format!("r_{}", &random::hex()[..12])
}

/// `s_` or `r_` and twelve letters or digits.
fn is_valid(id: &str) -> bool {
    let tail = id.strip_prefix("s_").or_else(|| id.strip_prefix("r_"));
    tail.is_some_and(|tail| tail.len() == 12 && tail.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
