//! A home of its own, an environment with nothing else in it, a GitLab, and a batch system of four scripts.
#![expect(clippy::disallowed_methods, reason = "tests write configurations and start the program")]
#![expect(clippy::unwrap_used, reason = "a sandbox that cannot be made fails its test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use gitlab_stand_in::{Options, StandIn};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct Sandbox {
    pub(crate) gitlab: StandIn,
    pub(crate) token: String,
    home: TempDir,
}

/// How a run ended. Home, URL and launch ids are replaced by `HOME`, `URL` and `ID`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) const PROJECT: &str = "group/project";

const FAKES: [(&str, &str); 4] = [
    ("sbatch", include_str!("fakes/sbatch")),
    ("squeue", include_str!("fakes/squeue")),
    ("scancel", include_str!("fakes/scancel")),
    ("sacct", include_str!("fakes/sacct")),
];

pub(crate) fn silent() -> Run {
    Run { code: Some(0), stdout: String::new(), stderr: String::new() }
}

impl Sandbox {
    /// One registered instance `big` with the tag `big`, launched by sbatch.
    pub(crate) fn new() -> Self {
        let sandbox = Self::with(Options::default());
        sandbox.instance("big", json!({}));
        sandbox.configure("[runners.big]\ntags = [\"big\"]\n", "");
        sandbox
    }

    /// Without instances and configuration.
    pub(crate) fn with(options: Options) -> Self {
        let gitlab = StandIn::start(options).unwrap();
        gitlab.add_project(PROJECT);
        let token = gitlab.project_token(PROJECT, &["read_api", "create_runner", "manage_runner"]);
        let sandbox = Self { gitlab, token, home: tempfile::tempdir().unwrap() };
        for (name, text) in FAKES {
            sandbox.write(&format!("bin/{name}"), text);
            fs::set_permissions(sandbox.path(&format!("bin/{name}")), Permissions::from_mode(0o755)).unwrap();
        }
        for folder in ["queue", "faults", "data"] {
            fs::create_dir(sandbox.path(folder)).unwrap();
        }
        fs::set_permissions(sandbox.path("data"), Permissions::from_mode(0o700)).unwrap();
        sandbox
    }

    /// Adds a runner to GitLab and its registration to ours. `spec` is added to path and tag.
    pub(crate) fn instance(&self, name: &str, spec: Value) -> String {
        let mut runner = json!({ "path": PROJECT, "tags": [name], "run_untagged": false });
        for (key, value) in spec.as_object().unwrap() {
            runner[key] = value.clone();
        }
        let (id, token) = self.gitlab.add_runner(runner);
        let path = self.path("data/meta.registrations.toml");
        let before = fs::read_to_string(&path).unwrap_or_else(|_| "version = 1\n".to_owned());
        let text = format!("{before}\n[registrations.{name}]\nid = {id}\ntoken = \"{token}\"\n");
        self.write("data/meta.registrations.toml", &text);
        token
    }

    /// `instances` come behind the top, `launch` are further lines of `[launch]`.
    pub(crate) fn configure(&self, instances: &str, launch: &str) {
        let head = format!(
            "url = \"{}\"\nproject = \"{PROJECT}\"\nmanagement_token = \"{}\"",
            self.gitlab.url(),
            self.token
        );
        self.configure_with(
            &head,
            instances,
            &format!("executable = \"sbatch\"\nstdin = \"#!/bin/sh\\n\"\n{launch}"),
        );
    }

    /// `launch` is all of `[launch]`.
    pub(crate) fn configure_with(&self, head: &str, instances: &str, launch: &str) {
        let text = format!(
            "name = \"meta\"\n{head}\n{instances}\n[launch]\n{launch}\n[runner]\nexecutor = \"custom\"\n"
        );
        self.write("config.toml", &text);
    }

    /// The program with the sandbox's surroundings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meta-launcher"));
        command
            .args(["--config-file", "config.toml", "--data-dir", "data"])
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.finish(self.command(args))
    }

    pub(crate) fn once(&self) -> Run {
        self.run(&["once"])
    }

    pub(crate) fn finish(&self, mut command: Command) -> Run {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| {
            let mut text = String::from_utf8(bytes)
                .unwrap()
                .replace(&self.home.path().display().to_string(), "HOME")
                .replace(self.gitlab.url(), "URL");
            for launch in self.launches() {
                text = text.replace(launch["id"].as_str().unwrap(), "ID");
            }
            text
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

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Adds a pending job with this tag; gives its id.
    pub(crate) fn job(&self, tag: &str) -> i64 {
        self.gitlab.enqueue(PROJECT, json!({ "tags": [tag], "script": "true" }))
    }

    /// Does to a job what a user may do: `cancel`, for example.
    pub(crate) fn act_on_job(&self, id: i64, what: &str) {
        let project = PROJECT.replace('/', "%2F");
        let url = format!("{}/api/v4/projects/{project}/jobs/{id}/{what}", self.gitlab.url());
        ureq::post(url).header("PRIVATE-TOKEN", self.gitlab.root_token()).send_empty().unwrap();
    }

    pub(crate) fn ledger(&self) -> Value {
        let text = fs::read_to_string(self.path("data/meta.launches.json"));
        text.map_or(json!({ "launches": [] }), |text| serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn launches(&self) -> Vec<Value> {
        self.ledger()["launches"].as_array().unwrap().clone()
    }

    /// State and reason of each launch.
    pub(crate) fn states(&self) -> Vec<String> {
        let launches = self.launches();
        let shown = launches.iter().map(|launch| {
            let state = launch["state"].as_str().unwrap();
            launch["reason"].as_str().map_or(state.to_owned(), |reason| format!("{state}: {reason}"))
        });
        shown.collect()
    }

    /// Makes everything in the ledger older by so many seconds.
    pub(crate) fn age(&self, seconds: u64) {
        let mut ledger = self.ledger();
        let older = |value: &mut Value| {
            if let Some(time) = value.as_u64() {
                *value = json!(time - seconds);
            }
        };
        for launch in ledger["launches"].as_array_mut().unwrap() {
            for key in ["submitted", "changed", "surplus_since"] {
                if launch.get(key).is_some() {
                    older(&mut launch[key]);
                }
            }
            if let Some(runs) = launch.get_mut("runs") {
                runs.as_array_mut().unwrap().iter_mut().for_each(older);
            }
        }
        if let Some(contacts) = ledger.get_mut("keep_alive") {
            contacts.as_object_mut().unwrap().values_mut().for_each(older);
        }
        for runner in ledger.get_mut("runners").and_then(Value::as_object_mut).into_iter().flatten() {
            older(&mut runner.1["asked"]);
        }
        if let Some(scope) = ledger.get_mut("scope") {
            older(&mut scope["listed"]);
        }
        self.write("data/meta.launches.json", &ledger.to_string());
    }

    /// The names of the jobs in the queue.
    pub(crate) fn queued(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("queue")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// Replaces the lines of a job in the queue: `tasks|state|reason`.
    pub(crate) fn set_queue(&self, id: &str, lines: &[&str]) {
        let before = fs::read_to_string(self.path(&format!("queue/{id}"))).unwrap();
        let tail = before.lines().next().unwrap().splitn(4, '|').nth(3).unwrap().to_owned();
        let text: String = lines.iter().map(|line| format!("{line}|{tail}\n")).collect();
        fs::write(self.path(&format!("queue/{id}")), text).unwrap();
    }

    /// How a program of the batch system was called, a line each.
    pub(crate) fn calls(&self, program: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{program}.calls"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A script that is sourced by a fake: `before` and `after` by sbatch, `squeue` by squeue.
    pub(crate) fn fault(&self, place: &str, script: &str) {
        self.write(&format!("faults/{place}"), script);
    }
}
