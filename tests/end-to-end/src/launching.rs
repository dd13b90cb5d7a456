//! A site whose jobs are launched by `meta-launcher` into a batch system, and run in a plain shell: fast, and countable.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gitlab_stand_in::{Options, StandIn};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed;

const PROJECT: &str = "hpc/launching";

/// A GitLab, a launcher's configuration and state, and the record of every script that ran.
#[derive(Debug)]
pub struct Launching {
    pub gitlab: StandIn,
    directory: TempDir,
    environment: Vec<(String, PathBuf)>,
    launch: String,
    token: String,
}

/// How a call of the launcher ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Launching {
    /// One instance, `big`. `launch` are the lines of `[launch]` but for the script, and what comes behind them.
    pub fn new(launch: &str, environment: &[(&str, PathBuf)]) -> Self {
        let gitlab = StandIn::start(Options::default()).expect("the GitLab stand-in starts");
        gitlab.add_project(PROJECT);
        let token = gitlab.project_token(PROJECT, &["read_api", "create_runner", "manage_runner"]);
        let (id, runner) =
            gitlab.add_runner(json!({ "path": PROJECT, "tags": ["big"], "run_untagged": false }));
        let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let site = Self { gitlab, directory, environment, launch: launch.to_owned(), token };
        for folder in ["data", "builds", "logs"] {
            let folder = site.path().join(folder);
            fs::create_dir(&folder).expect("the directory is new");
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("the directory is ours");
        }
        site.write(
            "data/bed.registrations.toml",
            &format!("version = 1\n[registrations.big]\nid = {id}\ntoken = \"{runner}\"\n"),
        );
        site.write(
            "data/bed.gitlab-runner.toml",
            &format!(
                "concurrent = 1\n[[runners]]\nname = \"big\"\nurl = \"{}\"\ntoken = \"{runner}\"\nexecutor = \"shell\"\nshell = \"bash\"\nbuilds_dir = \"{}/builds\"\n",
                site.gitlab.url(),
                site.path().display()
            ),
        );
        site.configure("");
        site
    }

    /// Writes the configuration, with further lines of the instance's `config_variables`. Each allocation gets a directory
    /// for builds of its own: in a shell, jobs of one project that run side by side would meet in one.
    pub fn configure(&self, variables: &str) {
        let text = format!(
            "name = \"bed\"\nurl = \"{}\"\nproject = \"{PROJECT}\"\nmanagement_token = \"{}\"\n[poll]\ninterval = 1\n\
             [runners.big]\ntags = [\"big\"]\n[runners.big.config_variables]\nSITE = \"{}\"\n{variables}\n\
             [runner]\nexecutor = \"shell\"\n[launch]\nstdin = \"\"\"\n#!/bin/bash\n\
             own=$SITE/builds/$$$$; mkdir $$own; sed \"s|/builds|/builds/$$$$|\" $CONFIG >$$own/config.toml\n\
             exec gitlab-runner run-single --config $$own/config.toml --runner $NAME --max-builds $NUM_JOBS --wait-timeout 10\n\"\"\"\n{}\n",
            self.gitlab.url(),
            self.token,
            self.path().display(),
            self.launch
        );
        self.write("config.toml", &text);
    }

    /// Runs jobs by our executor, in an image of the bed, instead of in a shell. They see the site's directory as `/site`.
    pub fn run_in_containers(&self) {
        let program = bed::program("meta-executor");
        let data = self.path().join("data");
        let stages: String = ["config", "prepare", "run", "cleanup"]
            .map(|stage| {
                format!(
                    "{stage}_exec = \"{}\"\n{stage}_args = [\"big\", \"{stage}\", \"--data-dir\", \"{}\"]\n",
                    program.display(),
                    data.display()
                )
            })
            .concat();
        let text = fs::read_to_string(data.join("bed.gitlab-runner.toml")).expect("it was written");
        let text = text.replace("executor = \"shell\"\nshell = \"bash\"\n", "executor = \"custom\"\n");
        self.write("data/bed.gitlab-runner.toml", &format!("{text}[runners.custom]\n{stages}"));
        let text = format!(
            "version = 1\nname = \"bed\"\n[executor]\nbuilds_dir = \"{0}/builds\"\nnode_dir = \"{0}/node\"\npull_policy = \"if-not-present\"\n\
             mount = [\"{0}:/site\"]\nimage = \"{1}\"\n[instances.big]\ncache_dir = \"{0}/cache\"\n[instances.big.config_variables]\n",
            self.path().display(),
            bed::image("busybox:latest")
        );
        self.write("data/bed.executor.toml", &text);
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds a job; its script writes its id down first.
    pub fn job(&self, script: &str) -> i64 {
        self.plain_job(&format!("echo $CI_JOB_ID >>{}/ran; {script}", self.path().display()))
    }

    /// Adds a job with this script.
    pub fn plain_job(&self, script: &str) -> i64 {
        let job = json!({ "tags": ["big"], "script": [script], "variables": { "GIT_STRATEGY": "none" } });
        self.gitlab.enqueue(PROJECT, job)
    }

    pub fn jobs(&self, count: usize, script: &str) -> Vec<i64> {
        (0..count).map(|_| self.job(script)).collect()
    }

    /// Cancels a job as a user does.
    pub fn cancel(&self, job: i64) {
        let url = format!(
            "{}/api/v4/projects/{}/jobs/{job}/cancel",
            self.gitlab.url(),
            PROJECT.replace('/', "%2F")
        );
        let token = format!("PRIVATE-TOKEN: {}", self.gitlab.root_token());
        let status =
            Command::new("curl").args(["-sSf", "-o", "/dev/null", "-X", "POST", "-H", &token, &url]).status();
        assert!(status.expect("curl starts").success());
    }

    pub fn launcher(&self, words: &[&str]) -> Command {
        let mut command = Command::new(bed::program("meta-launcher"));
        command.arg("--config-file").arg(self.path().join("config.toml"));
        command.arg("--data-dir").arg(self.path().join("data")).args(words);
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    pub fn say(&self, words: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.launcher(words).output().expect("the launcher starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// One tick that has nothing to say.
    pub fn tick(&self) {
        let said = self.say(&["once"]);
        assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
    }

    /// Ticks every second until all jobs have ended. The limit is a wide safety limit.
    pub fn tick_until_done(&self, jobs: &[i64], limit: Duration) {
        let begin = Instant::now();
        while jobs.iter().any(|&job| self.is_open(job)) {
            assert!(begin.elapsed() < limit, "not within {limit:?}:\n{}", self.say(&["status"]).stdout);
            self.tick();
            sleep(Duration::from_secs(1));
        }
    }

    fn is_open(&self, job: i64) -> bool {
        ["pending", "running"].contains(&self.gitlab.job(job)["status"].as_str().unwrap_or_default())
    }

    /// How often the script of each job began.
    pub fn ran(&self) -> BTreeMap<i64, usize> {
        let text = fs::read_to_string(self.path().join("ran")).unwrap_or_default();
        let mut ran = BTreeMap::new();
        for id in text.lines().filter_map(|line| line.parse().ok()) {
            *ran.entry(id).or_default() += 1;
        }
        ran
    }

    /// Asserts that each job has run once and succeeded.
    pub fn each_ran_once(&self, jobs: &[i64]) {
        for &job in jobs {
            let job = self.gitlab.job(job);
            assert_eq!(job["status"], "success", "{job:#}");
        }
        let expected: BTreeMap<i64, usize> = jobs.iter().map(|&job| (job, 1)).collect();
        assert_eq!(self.ran(), expected);
    }

    /// Prints how many allocations ran without a job, and gives their number.
    pub fn wasted(&self, what: &str, allocations: usize) -> usize {
        let wasted = allocations.saturating_sub(self.ran().len());
        println!("{what}: {allocations} allocations, {wasted} without a job");
        wasted
    }

    pub fn ledger(&self) -> Value {
        let text = fs::read_to_string(self.path().join("data/bed.launches.json"));
        text.map_or(json!({ "launches": [] }), |text| {
            serde_json::from_str(&text).expect("the ledger is JSON")
        })
    }

    /// State and reason of each launch.
    pub fn states(&self) -> Vec<String> {
        let ledger = self.ledger();
        let launches = ledger["launches"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        launches
            .iter()
            .map(|launch| format!("{}: {}", text(&launch["state"]), text(&launch["reason"])))
            .collect()
    }

    /// Makes the ledger older by so many seconds, so that nobody has to wait for a back-off.
    pub fn age(&self, seconds: u64) {
        let mut ledger = self.ledger();
        for launch in ledger["launches"].as_array_mut().expect("a list") {
            let older = |value: &mut Value| {
                if let Some(time) = value.as_u64() {
                    *value = json!(time - seconds);
                }
            };
            for key in ["submitted", "changed"] {
                older(&mut launch[key]);
            }
            if let Some(Value::Object(jobs)) = launch.get_mut("lost_at") {
                jobs.values_mut().for_each(older);
            }
        }
        self.write("data/bed.launches.json", &ledger.to_string());
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::write(&path, text).expect("the directory is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    }
}
