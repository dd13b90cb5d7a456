//! `meta-register` with many instances and a GitLab that is far away. Called by `cargo xtask bench register`.
//!
//! Prints a row per run: name, seconds, most that are allowed, requests, MB, most that are allowed.

#![expect(
    clippy::disallowed_methods,
    reason = "benches are at the edge: they write files and start programs"
)]
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use end_to_end::bed::program;
use end_to_end::measure::{peak_memory, samples};
use gitlab_stand_in::{Options, StandIn};
use serde_json::json;
use tempfile::TempDir;

const INSTANCES: usize = 200;
/// Milliseconds that each request takes at least.
const LATENCY_MS: u64 = 20;
const MOST_MB: f64 = 30.0;

fn main() {
    let first = Site::new();
    first.report("registering 200 instances", 10.0, &Site::new());
    first.report("nothing to do", 2.0, &first);
}

/// A GitLab, and a home with a configuration for it.
struct Site {
    gitlab: StandIn,
    token: String,
    home: TempDir,
}

impl Site {
    fn new() -> Self {
        let gitlab = StandIn::start(Options::default()).unwrap();
        gitlab.add_project("group/project");
        gitlab.add_fault(json!({"route": "* *", "times": 1_000_000, "delay_ms": LATENCY_MS}));
        let token = gitlab.project_token("group/project", &["read_api", "create_runner", "manage_runner"]);
        let site = Self { gitlab, token, home: tempfile::tempdir().unwrap() };
        site.configure();
        site
    }

    /// Each instance has a tag of its own.
    fn configure(&self) {
        let instance = |number| format!("[runners.instance-{number:03}]\ntags = [\"tag-{number:03}\"]\n");
        let instances: String = (1..=INSTANCES).map(instance).collect();
        let text = format!(
            "name = \"bench\"\nurl = \"{}\"\nproject = \"group/project\"\nmanagement_token = \"{}\"\n{instances}[runner]\nexecutor = \"custom\"\n",
            self.gitlab.url(),
            self.token
        );
        let path = self.home.path().join("config.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("meta-register"));
        command.args(["--config-file", "config.toml", "--data-dir", "data"]);
        command.current_dir(self.home.path()).env("HOME", self.home.path());
        command
    }

    /// Runs it here for the time, and at another site in the same state for the memory.
    fn report(&self, name: &str, most_s: f64, other: &Self) {
        let before = self.gitlab.requests().len();
        let seconds = samples(&[&|| self.command()], 1)[0].median() / 1e3;
        let requests = self.gitlab.requests().len() - before;
        let megabytes = peak_memory(&other.command()) as f64 / 1e6;
        println!("{name}\t{seconds:.2}\t{most_s}\t{requests}\t{megabytes:.1}\t{MOST_MB}");
    }
}
