//! The bed as a test sees it from inside.

use std::env;
use std::path::PathBuf;

/// The registry of the bed.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// Why the suites that need the bed cannot run here, or `None` in the bed. `cargo xtask test` runs them there.
pub fn missing() -> Option<&'static str> {
    match env::var_os("META_RUNNER_IN_BED") {
        Some(_) => None,
        None => Some("needs the bed: cargo xtask test"),
    }
}

/// One of our programs, or a stand-in: they are built beside each other.
pub fn program(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a running test has an executable");
    let directory = own.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    directory.join(name)
}

/// A test image.
pub fn image(name: &str) -> String {
    format!("{REGISTRY}/{name}")
}
