//! A site with a GitLab: jobs go through Slurm, gitlab-runner and the executor.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use gitlab_stand_in::{Options, StandIn};
use serde_json::{Value, json};

use crate::executor::Site;
use crate::runner;

/// The project of all jobs.
pub const PROJECT: &str = "hpc/solver";

/// A GitLab with one project and one runner, and a site that serves it.
#[derive(Debug)]
pub struct Cluster {
    pub gitlab: StandIn,
    pub site: Site,
}

impl Cluster {
    /// A runner with the tag `big`, and `[executor]` lines for its site.
    pub fn new(executor: &str) -> Self {
        let gitlab = StandIn::start(Options::default()).expect("the GitLab stand-in starts");
        gitlab.add_project_with(json!({ "path": PROJECT, "repository": true }));
        let (_, token) = gitlab.add_runner(json!({ "path": PROJECT, "tags": ["big"], "run_untagged": true }));
        let site = Site::new(executor);
        let cluster = Self { gitlab, site };
        runner::write_config(&cluster.config(), &cluster.site, cluster.gitlab.url(), &token, "");
        cluster
    }

    fn config(&self) -> PathBuf {
        self.site.data_dir().join("test.gitlab-runner.toml")
    }

    /// Puts a runner into the batch queue for `jobs` jobs and waits until its allocation ends. Gives what it printed.
    pub fn run_in_queue(&self, jobs: usize) -> String {
        let Output { status, stderr, .. } = self.sbatch(jobs).arg("--wait").output().expect("sbatch starts");
        let text = fs::read_to_string(self.batch_log()).unwrap_or_default();
        assert!(status.success(), "{}{text}", String::from_utf8_lossy(&stderr));
        text
    }

    /// Puts a runner into the batch queue for `jobs` jobs, with these options of sbatch. Gives the number of the batch job.
    pub fn submit(&self, jobs: usize, options: &[&str]) -> String {
        run(self.sbatch(jobs).args(options)).trim().to_owned()
    }

    fn batch_log(&self) -> PathBuf {
        self.site.path().join("slurm.log")
    }

    fn sbatch(&self, jobs: usize) -> Command {
        let script = format!(
            "gitlab-runner run-single --config {} --runner big --max-builds {jobs} --wait-timeout 20",
            self.config().display()
        );
        let mut sbatch = Command::new("sbatch");
        sbatch.args(["--parsable", "--job-name=end-to-end", "--wrap", &script, "--output"]);
        sbatch.arg(self.batch_log());
        sbatch
    }

    /// Pushes `files` to the project's main branch and starts a pipeline. Gives the ids of its jobs by name.
    pub fn push_and_start(&self, files: &[(&str, &str)]) -> Vec<(String, i64)> {
        let checkout = self.site.path().join("checkout");
        fs::create_dir_all(&checkout).expect("the site is writable");
        for (name, text) in files {
            fs::write(checkout.join(name), text).expect("the checkout is writable");
        }
        let remote = format!("{}/{PROJECT}.git", self.gitlab.url())
            .replace("http://", &format!("http://root:{}@", self.gitlab.root_token()));
        let git = ["-c", "user.name=root", "-c", "user.email=root@example.com"];
        for words in [
            &["init", "-q", "-b", "main"][..],
            &["add", "."],
            &["commit", "-q", "-m", "sample"],
            &["push", "-q", &remote, "main"],
        ] {
            run(Command::new("git").current_dir(&checkout).args(git).args(words));
        }
        let project = PROJECT.replace('/', "%2F");
        let url = format!("{}/api/v4/projects/{project}/pipeline?ref=main", self.gitlab.url());
        let token = format!("PRIVATE-TOKEN: {}", self.gitlab.root_token());
        let answer =
            run(Command::new("curl").args(["-sS", "--fail-with-body", "-X", "POST", "-H", &token, &url]));
        let pipeline = serde_json::from_str::<Value>(&answer).expect("the answer is JSON");
        let state = self.gitlab.state();
        let jobs = state["jobs"].as_array().expect("the state lists jobs");
        let ours = jobs
            .iter()
            .filter(|job| job["pipeline"] == pipeline["id"] || job["pipeline_id"] == pipeline["id"]);
        ours.map(|job| {
            (job["name"].as_str().unwrap_or_default().to_owned(), job["id"].as_i64().unwrap_or_default())
        })
        .collect()
    }

    /// The job as GitLab has it.
    pub fn job(&self, id: i64) -> Value {
        self.gitlab.job(id)
    }
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(
        status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8_lossy(&stdout).into_owned()
}
