//! A home of a test's own, an environment with nothing else in it, and a GitLab: what tests of a program begin with.
#![expect(clippy::disallowed_methods, reason = "tests write configurations and start the programs")]
#![expect(clippy::unwrap_used, reason = "a sandbox that cannot be made fails its test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gitlab_stand_in::{Options, StandIn};
use tempfile::TempDir;

/// The project that the GitLab has.
pub const PROJECT: &str = "group/project";

/// The scopes of a management token that may do everything.
pub const ALL_SCOPES: [&str; 3] = ["read_api", "create_runner", "manage_runner"];

/// A home, with a GitLab and a token for it.
#[derive(Debug)]
pub struct Sandbox {
    pub gitlab: StandIn,
    /// The management token.
    pub token: String,
    home: TempDir,
}

/// How a run ended. Home and URL are replaced by `HOME` and `URL`.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Nothing to do, and nothing wrong.
    pub fn silent() -> Self {
        Self { code: Some(0), stdout: String::new(), stderr: String::new() }
    }
}

impl Sandbox {
    /// With an empty data directory, and a management token of these scopes.
    pub fn new(options: Options, scopes: &[&str]) -> Self {
        let gitlab = StandIn::start(options).unwrap();
        gitlab.add_project(PROJECT);
        let token = gitlab.project_token(PROJECT, scopes);
        let sandbox = Self { gitlab, token, home: tempfile::tempdir().unwrap() };
        fs::create_dir(sandbox.path("data")).unwrap();
        sandbox.set_mode("data", 0o700);
        sandbox
    }

    /// The lines that lead to the GitLab, for the top of a configuration.
    pub fn head(&self) -> String {
        head(self.gitlab.url(), PROJECT, &self.token)
    }

    /// A program with nothing but this home in its environment.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["--config-file", "config.toml", "--data-dir", "data"]).args(args);
        command.current_dir(self.home.path()).env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn finish(&self, command: &mut Command) -> Run {
        let output = command.output().unwrap();
        let text = |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.home.path().display().to_string(), "HOME").replace(self.gitlab.url(), "URL")
        };
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A place in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file that is ours alone, and the directories above it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        path.parent().map_or(Ok(()), fs::create_dir_all).unwrap();
        fs::write(&path, text).unwrap();
        self.set_mode(name, 0o600);
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub fn set_mode(&self, name: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.home.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
}

/// The lines of a configuration that lead to a GitLab.
pub fn head(url: &str, project: &str, token: &str) -> String {
    format!("url = \"{url}\"\nproject = \"{project}\"\nmanagement_token = \"{token}\"")
}
