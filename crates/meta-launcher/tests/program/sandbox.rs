//! A sandbox with a batch system of four scripts.
#![expect(clippy::disallowed_methods, reason = "tests write configurations and start the program")]
#![expect(clippy::unwrap_used, reason = "a sandbox that cannot be made fails its test")]

use std::fs;
use std::ops::Deref;
use std::process::Command;

use gitlab_stand_in::Options;
pub(crate) use sandbox::{PROJECT, Run};
use serde_json::{Value, json};

/// Home and GitLab, and the batch system in them.
pub(crate) struct Sandbox(sandbox::Sandbox);

impl Deref for Sandbox {
    type Target = sandbox::Sandbox;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

const FAKES: [(&str, &str); 4] = [
    ("sbatch", include_str!("fakes/sbatch")),
    ("squeue", include_str!("fakes/squeue")),
    ("scancel", include_str!("fakes/scancel")),
    ("sacct", include_str!("fakes/sacct")),
];

pub(crate) fn silent() -> Run {
    Run::silent()
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
        let sandbox = Self(sandbox::Sandbox::new(options, &sandbox::ALL_SCOPES));
        for (name, text) in FAKES {
            sandbox.write(&format!("bin/{name}"), text);
            sandbox.set_mode(format!("bin/{name}"), 0o755);
        }
        for folder in ["queue", "faults"] {
            fs::create_dir(sandbox.path(folder)).unwrap();
        }
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
        let launch = format!("executable = \"sbatch\"\nstdin = \"#!/bin/sh\\n\"\n{launch}");
        self.configure_with(&self.head(), instances, &launch);
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
        let mut command = self.0.command(env!("CARGO_BIN_EXE_meta-launcher"), args);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.finish(self.command(args))
    }

    pub(crate) fn once(&self) -> Run {
        self.run(&["once"])
    }

    /// Runs it to its end. Launch ids are replaced by `ID`.
    pub(crate) fn finish(&self, mut command: Command) -> Run {
        let mut run = self.0.finish(&mut command);
        for launch in self.launches() {
            let id = launch["id"].as_str().unwrap();
            (run.stdout, run.stderr) = (run.stdout.replace(id, "ID"), run.stderr.replace(id, "ID"));
        }
        run
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

    /// An empty one where the file is missing or damaged.
    pub(crate) fn ledger(&self) -> Value {
        let text = fs::read_to_string(self.path("data/meta.launches.json"));
        let ledger = text.ok().and_then(|text| serde_json::from_str(&text).ok());
        ledger.unwrap_or(json!({ "launches": [] }))
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
        let all = |values: Option<&mut Value>| match values {
            Some(Value::Object(map)) => map.values_mut().for_each(older),
            Some(Value::Array(list)) => list.iter_mut().for_each(older),
            Some(_) | None => {}
        };
        for launch in ledger["launches"].as_array_mut().unwrap() {
            older(&mut launch["submitted"]);
            older(&mut launch["changed"]);
            all(launch.get_mut("runs"));
            all(launch.get_mut("lost_at"));
            if let Some(surplus) = launch.get_mut("surplus") {
                older(&mut surplus["since"]);
            }
        }
        all(ledger.get_mut("keep_alive"));
        if let Some(troubles) = ledger.get_mut("troubles") {
            troubles.as_object_mut().unwrap().values_mut().for_each(|trouble| all(Some(trouble)));
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
