//! The bed as a test sees it from inside.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Builds the image `name` from what is in `directory`, and puts it into the bed's registry. Gives its whole name.
pub fn make_image(directory: &Path, name: &str, containerfile: &str) -> String {
    fs::write(directory.join("Containerfile"), containerfile).expect("the directory is the test's");
    let name = image(name);
    for words in [&["build", "--quiet", "--tag", &name, "."][..], &["push", "--quiet", &name]] {
        let output =
            Command::new("podman").args(words).current_dir(directory).output().expect("podman starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    name
}
