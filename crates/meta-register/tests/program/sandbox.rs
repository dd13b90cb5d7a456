//! A home of its own, an environment with nothing else in it, and a GitLab.
#![expect(clippy::disallowed_methods, reason = "tests write configurations and start the program")]
#![expect(clippy::unwrap_used, reason = "a sandbox that cannot be made fails its test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use gitlab_stand_in::{Options, StandIn};
use meta_core::secret::Secret;
use meta_gitlab::{Client, ClientSettings, Proxies};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Sandbox {
    pub(crate) gitlab: StandIn,
    pub(crate) token: String,
    home: TempDir,
}

/// How a run ended. Home and URL are replaced by `HOME` and `URL`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) const ALL_SCOPES: [&str; 3] = ["read_api", "create_runner", "manage_runner"];

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(Options::default(), &ALL_SCOPES)
    }

    pub(crate) fn with(options: Options, scopes: &[&str]) -> Self {
        let gitlab = StandIn::start(options).unwrap();
        gitlab.add_project("group/project");
        let token = gitlab.project_token("group/project", scopes);
        Self { gitlab, token, home: tempfile::tempdir().unwrap() }
    }

    /// Writes the configuration: `head` is put at the top, `instances` at the end.
    pub(crate) fn configure_with(&self, head: &str, instances: &str) {
        let text = format!("name = \"meta\"\n{head}\n{instances}\n[runner]\nexecutor = \"custom\"\n");
        self.write("config.toml", &text);
    }

    pub(crate) fn configure(&self, instances: &str) {
        let head = format!(
            "url = \"{}\"\nproject = \"group/project\"\nmanagement_token = \"{}\"",
            self.gitlab.url(),
            self.token
        );
        self.configure_with(&head, instances);
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_meta-register"))
            .args(["--config-file", "config.toml", "--data-dir", "data"])
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .output()
            .unwrap();
        let text = |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&self.home.path().display().to_string(), "HOME")
                .replace(self.gitlab.url(), "URL")
        };
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn registrations(&self) -> String {
        fs::read_to_string(self.path("data/meta.registrations.toml")).unwrap()
    }

    /// Somebody else, who may do everything.
    pub(crate) fn admin(&self) -> Client {
        let settings = ClientSettings {
            url: self.gitlab.url().to_owned(),
            token: Secret::new(self.gitlab.root_token()),
            ca_file: None,
            proxies: Proxies::default(),
            timeout: Duration::from_secs(30),
        };
        Client::new(settings, std::thread::sleep).unwrap()
    }

    /// The runners that GitLab has.
    pub(crate) fn runners(&self) -> Vec<Value> {
        match &self.gitlab.state()["runners"] {
            Value::Array(runners) => runners.clone(),
            Value::Object(runners) => runners.values().cloned().collect(),
            other => panic!("not a list of runners: {other}"),
        }
    }

    /// Method and path of the requests since `skip` of them that were not reads.
    pub(crate) fn writes(&self, skip: usize) -> Vec<String> {
        let requests = self.gitlab.requests();
        let text = |request: &Value, key: &str| request[key].as_str().unwrap().to_owned();
        requests[skip..]
            .iter()
            .map(|request| format!("{} {}", text(request, "method"), text(request, "path")))
            .filter(|request| !request.starts_with("GET "))
            .collect()
    }
}
