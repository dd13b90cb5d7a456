//! A home of its own, an environment with nothing else in it, and a GitLab.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use gitlab_stand_in::{Options, StandIn};
use meta_core::registrations::{Registrations, parse, render};
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
        let home = tempfile::tempdir().unwrap();
        let sandbox = Self { gitlab, token, home };
        fs::create_dir(sandbox.path("data")).unwrap();
        sandbox.set_mode("data", 0o700);
        sandbox
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
        self.finish(&mut self.command(args))
    }

    /// The program, with nothing but this home in its environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meta-register"));
        command
            .args(["--config-file", "config.toml", "--data-dir", "data"])
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn finish(&self, command: &mut Command) -> Run {
        let output = command.output().unwrap();
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
        fs::write(self.path(name), text).unwrap();
        self.set_mode(name, 0o600);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes what `meta-configure` would have written for these instances, with the registrations that are there.
    pub(crate) fn render(&self, instances: &[&str]) {
        let registrations = self.parsed_registrations();
        let entry = |name: &&str| {
            let registration = &registrations[&name.parse().unwrap()];
            let (id, token) = (registration.id, registration.token.reveal());
            format!(
                "\n[[runners]]\nexecutor = \"custom\"\nid = {id}\nname = \"{name}\"\ntoken = \"{token}\"\n"
            )
        };
        let entries: String = instances.iter().map(entry).collect();
        self.write("data/meta.gitlab-runner.toml", &format!("concurrent = 1\n{entries}"));
    }

    pub(crate) fn registrations(&self) -> String {
        self.read("data/meta.registrations.toml")
    }

    pub(crate) fn parsed_registrations(&self) -> Registrations {
        parse(&self.registrations()).unwrap()
    }

    /// Changes the registrations on disk, as a restored backup or a long time would.
    pub(crate) fn change_registrations(&self, change: impl FnOnce(&mut Registrations)) {
        let mut registrations = self.parsed_registrations();
        change(&mut registrations);
        self.write("data/meta.registrations.toml", &render(&registrations));
    }

    /// Whether every registration has a runner in GitLab that accepts its token.
    pub(crate) fn assert_usable(&self) {
        let runners = self.runners();
        for (name, registration) in self.parsed_registrations() {
            let runner = runners.iter().find(|runner| runner["id"] == registration.id);
            let token = runner.map(|runner| runner["token"].as_str().unwrap().to_owned());
            assert_eq!(token.as_deref(), Some(registration.token.reveal()), "{name} is not usable");
        }
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

    /// Method and path of the requests since `skip` of them that were not reads. To look at a token is one.
    pub(crate) fn writes(&self, skip: usize) -> Vec<String> {
        let requests = self.gitlab.requests();
        let text = |request: &Value, key: &str| request[key].as_str().unwrap().to_owned();
        requests[skip..]
            .iter()
            .map(|request| format!("{} {}", text(request, "method"), text(request, "path")))
            .filter(|request| !request.starts_with("GET ") && request != "POST /api/v4/runners/verify")
            .collect()
    }
}
