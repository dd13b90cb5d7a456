//! The bed as a test sees it from inside.

use std::env;
use std::path::PathBuf;

/// The registry of the bed.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// Where a suite runs that needs the bed. `META_RUNNER_IN_BED` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    Bed,
    /// On the host, from `cargo xtask test`, which runs the suite in the bed afterwards.
    BeforeTheBed,
    /// On the host, from `cargo test`.
    Host,
}

pub fn here() -> Here {
    match env::var_os("META_RUNNER_IN_BED") {
        Some(value) if value == "later" => Here::BeforeTheBed,
        Some(_) => Here::Bed,
        None => Here::Host,
    }
}

/// One of our programs, or a stand-in: they are built beside each other, unless `META_RUNNER_PROGRAMS` names the
/// directory (benches measure the programs that are shipped).
pub fn program(name: &str) -> PathBuf {
    if let Some(directory) = env::var_os("META_RUNNER_PROGRAMS") {
        return PathBuf::from(directory).join(name);
    }
    let own = env::current_exe().expect("a running test has an executable");
    let beside = own.parent().expect("a file lies in a directory");
    let directory = if beside.ends_with("deps") {
        beside.parent().expect("`deps` lies in target/PROFILE")
    } else {
        beside
    };
    directory.join(name)
}

/// A test image.
pub fn image(name: &str) -> String {
    format!("{REGISTRY}/{name}")
}
