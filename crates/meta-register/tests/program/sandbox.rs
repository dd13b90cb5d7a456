//! A sandbox with what was registered.

use std::ops::Deref;
use std::process::Command;
use std::time::Duration;

use gitlab_stand_in::Options;
use meta_core::registrations::{Registrations, parse, render};
use meta_core::secret::Secret;
use meta_gitlab::{Client, ClientSettings, Proxies};
pub(crate) use sandbox::{ALL_SCOPES, Run};
use serde_json::Value;

/// Home and GitLab, and the registrations in them.
pub(crate) struct Sandbox(sandbox::Sandbox);

impl Deref for Sandbox {
    type Target = sandbox::Sandbox;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(Options::default(), &ALL_SCOPES)
    }

    pub(crate) fn with(options: Options, scopes: &[&str]) -> Self {
        Self(sandbox::Sandbox::new(options, scopes))
    }

    /// Writes the configuration: `head` is put at the top, `instances` at the end.
    pub(crate) fn configure_with(&self, head: &str, instances: &str) {
        let text = format!("name = \"meta\"\n{head}\n{instances}\n[runner]\nexecutor = \"custom\"\n");
        self.write("config.toml", &text);
    }

    pub(crate) fn configure(&self, instances: &str) {
        self.configure_with(&self.head(), instances);
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.finish(&mut self.command(args))
    }

    /// The program, with nothing but this home in its environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.0.command(env!("CARGO_BIN_EXE_meta-register"), args)
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
