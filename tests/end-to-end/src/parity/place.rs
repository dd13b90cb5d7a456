//! Where a row is proven: a GitLab, a site at one isolation level, and a project with a runner for each row.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use gitlab_stand_in::{Options, StandIn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::ran::Ran;
use crate::bed::{REGISTRY, image};
use crate::executor::Site;
use crate::processes::wait_until;
use crate::runner;

/// Wide: a job takes a second or two, on a busy machine some more.
const LIMIT: Duration = Duration::from_secs(180);

/// A GitLab and a site, shared by many rows: its images are pulled once.
#[derive(Debug)]
pub struct Rig {
    pub gitlab: StandIn,
    pub site: Site,
    level: &'static str,
    places: AtomicU32,
}

/// A project of its own, and a runner for it.
#[derive(Clone, Debug)]
pub struct Place {
    rig: Arc<Rig>,
    project: String,
    token: String,
    config: PathBuf,
}

/// A job that a gitlab-runner is at.
#[derive(Debug)]
pub struct RunningJob<'a> {
    place: &'a Place,
    id: i64,
    runner: Child,
}

impl Rig {
    /// `executor` are lines of the site's `[executor]`.
    pub fn new(level: &'static str, executor: &str, options: Options) -> Self {
        let gitlab = StandIn::start(options).expect("the GitLab stand-in starts");
        // As if somebody watched the log: then a runner looks for a cancel every 3 s.
        gitlab.change_settings(json!({ "trace_update_interval": 3 }));
        let site = Site::new(&format!("level = \"{level}\"\n{executor}"));
        Self { gitlab, site, level, places: AtomicU32::new(0) }
    }
}

impl Place {
    pub fn new(rig: Arc<Rig>) -> Self {
        Self::with_project(rig, json!({}))
    }

    fn with_project(rig: Arc<Rig>, mut spec: Value) -> Self {
        let number = rig.places.fetch_add(1, Ordering::Relaxed);
        let project = format!("parity/project-{number}");
        spec["path"] = json!(project);
        rig.gitlab.add_project_with(spec);
        let (_, token) = rig.gitlab.add_runner(json!({ "path": project, "run_untagged": true }));
        let place = Self { config: PathBuf::new(), rig, project, token };
        place.with_runner("")
    }

    /// The isolation level.
    pub fn level(&self) -> &'static str {
        self.rig.level
    }

    pub fn gitlab(&self) -> &StandIn {
        &self.rig.gitlab
    }

    pub fn site(&self) -> &Site {
        &self.rig.site
    }

    /// A place with more lines in `[executor]`, on a GitLab and a site of its own.
    pub fn with_executor(&self, lines: &str) -> Self {
        Self::new(Arc::new(Rig::new(self.rig.level, lines, Options::default())))
    }

    /// A place whose GitLab speaks TLS.
    pub fn with_tls(&self) -> Self {
        let options = Options { tls: true, ..Options::default() };
        Self::with_project(Arc::new(Rig::new(self.rig.level, "", options)), json!({ "repository": true }))
    }

    /// The same project with more lines and tables in the runner's section of `config.toml`.
    pub fn with_runner(&self, lines: &str) -> Self {
        let number = self.rig.places.fetch_add(1, Ordering::Relaxed);
        let directory = self.rig.site.path().join(format!("runner-{number}"));
        fs::create_dir(&directory).expect("the site is writable");
        let config = directory.join("config.toml");
        runner::write_config(&config, &self.rig.site, self.rig.gitlab.url(), &self.token, lines);
        Self { config, ..self.clone() }
    }

    /// A project with these variables (`key`, `value`, `file`, `masked`, `raw`, `public`) on the same GitLab and site.
    pub fn with_variables(&self, variables: Value) -> Self {
        Self::with_project(Arc::clone(&self.rig), json!({ "variables": variables }))
    }

    /// A project with a repository on the same GitLab and site.
    pub fn with_repository(&self) -> Self {
        Self::with_project(Arc::clone(&self.rig), json!({ "repository": true }))
    }

    /// The project's path, `group/name`.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The bare repository, to look into and to push to.
    pub fn repository(&self) -> PathBuf {
        self.rig.gitlab.state_dir().join(format!("repositories/{}.git", self.project))
    }

    /// Runs `script` in a checkout of the repository, commits what it leaves and pushes it as `main`. `$REMOTE` is where to
    /// push other branches to.
    pub fn commit(&self, script: &str) {
        let checkout = self.rig.site.path().join(format!("checkout-{}", self.project.replace('/', "-")));
        let text = format!(
            "set -eu\n[ -d \"$CHECKOUT\" ] || git init -q -b main \"$CHECKOUT\"\ncd \"$CHECKOUT\"\n{script}\n\
             git add -A\ngit commit -q -m more\ngit push -q --no-verify \"$REMOTE\" HEAD:main\n"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &text]).env("CHECKOUT", checkout).env("REMOTE", self.repository());
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "somebody")
                .env(format!("GIT_{role}_EMAIL"), "s@example.org");
        }
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("bash starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a job with these keys.
    pub fn job(&self, keys: &str) -> Ran {
        self.job_on("main", keys)
    }

    /// Runs a job on a branch. `main` is the protected one.
    pub fn job_on(&self, reference: &str, keys: &str) -> Ran {
        self.run_pipeline(json!({ "yaml": one_job(keys), "ref": reference })).remove(0)
    }

    /// Runs a job on the head of the repository.
    pub fn job_of_repository(&self, keys: &str) -> Ran {
        self.run_pipeline(json!({ "yaml": one_job(keys), "repository": true })).remove(0)
    }

    /// Runs all jobs of a `.gitlab-ci.yml`, one after the other. Gives them in its order of stages.
    pub fn pipeline(&self, config: &str) -> Vec<Ran> {
        self.run_pipeline(json!({ "yaml": whole(config) }))
    }

    /// The same on the head of the repository.
    pub fn pipeline_of_repository(&self, config: &str) -> Vec<Ran> {
        self.run_pipeline(json!({ "yaml": whole(config), "repository": true }))
    }

    fn run_pipeline(&self, spec: Value) -> Vec<Ran> {
        let pipeline = self.start_pipeline(spec);
        let jobs = || self.rig.gitlab.jobs_of_pipeline(pipeline);
        while jobs().iter().any(|job| job["status"] == "pending") {
            let log = end_of(self.start_runner());
            let stuck = jobs().iter().any(|job| job["status"] == "running");
            assert!(!stuck, "gitlab-runner left a job running:\n{log}");
        }
        jobs().iter().map(Ran::of).collect()
    }

    /// Starts a job, and does not wait for its end.
    pub fn start(&self, keys: &str) -> RunningJob<'_> {
        let pipeline = self.start_pipeline(json!({ "yaml": one_job(keys) }));
        let id = self.rig.gitlab.jobs_of_pipeline(pipeline)[0]["id"].as_i64().unwrap_or_default();
        RunningJob { place: self, id, runner: self.start_runner() }
    }

    fn start_pipeline(&self, mut spec: Value) -> i64 {
        spec["project"] = json!(self.project);
        self.rig.gitlab.start_pipeline_with(spec)
    }

    /// A gitlab-runner for one job.
    fn start_runner(&self) -> Child {
        let mut command = runner::command();
        command.args([
            "run-single",
            "--runner",
            "big",
            "--max-builds",
            "1",
            "--wait-timeout",
            "30",
            "--config",
        ]);
        command.arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("gitlab-runner starts")
    }

    /// A directory of the host that the site's jobs may get by `mount`.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.rig.site.path().join(name);
        fs::create_dir_all(&path).expect("the site is writable");
        path
    }
}

impl RunningJob<'_> {
    /// Waits until the log has this text.
    pub fn wait_for(&self, text: &str) -> &Self {
        wait_until(text, LIMIT, || {
            let job = self.place.rig.gitlab.job(self.id);
            assert!(!matches!(job["status"].as_str(), Some("success" | "failed")), "{}", Ran::of(&job));
            job["trace"].as_str().is_some_and(|trace| trace.contains(text))
        });
        self
    }

    /// As with the button in GitLab.
    pub fn cancel(&self) -> &Self {
        self.place.rig.gitlab.cancel_job(self.id, false);
        self
    }

    /// A cancel that waits for nothing.
    pub fn force_cancel(&self) -> &Self {
        self.place.rig.gitlab.cancel_job(self.id, true);
        self
    }

    /// Sends a signal to gitlab-runner.
    pub fn signal(&self, signal: Signal) -> &Self {
        let pid = i32::try_from(self.runner.id()).expect("a process id is an int");
        kill(Pid::from_raw(pid), signal).expect("gitlab-runner runs");
        self
    }

    /// Waits for the end of gitlab-runner.
    pub fn end(self) -> Ran {
        end_of(self.runner);
        Ran::of(&self.place.rig.gitlab.job(self.id))
    }
}

/// Waits for a gitlab-runner and gives its own log.
fn end_of(mut runner: Child) -> String {
    let mut pipe = runner.stderr.take().expect("it was asked for");
    let reader = thread::spawn(move || {
        let mut log = Vec::new();
        let _ = pipe.read_to_end(&mut log);
        String::from_utf8_lossy(&log).into_owned()
    });
    wait_until("gitlab-runner ends", LIMIT, || runner.try_wait().is_ok_and(|status| status.is_some()));
    reader.join().expect("reading does not panic")
}

/// A configuration with the one job `job`.
fn one_job(keys: &str) -> String {
    let indented: String = keys.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    whole(&format!("job:\n{indented}"))
}

/// Names the bed's registry, and busybox for jobs without an image.
fn whole(config: &str) -> String {
    let text = config.replace("registry/", &format!("{REGISTRY}/"));
    if text.contains("default:") {
        text
    } else {
        format!("default: {{image: '{}'}}\n{text}", image("busybox:latest"))
    }
}
