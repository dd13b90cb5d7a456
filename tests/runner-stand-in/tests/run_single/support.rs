//! A sandbox for run-single: a folder, a canned GitLab on loopback, a driver written in shell.
#![expect(clippy::disallowed_methods, reason = "tests start the program and write its configuration")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::server::Server;
use serde_json::{Value, json};

/// What a driver does in a plain test: runs each script with bash and hands its exit code on.
pub(crate) const PLAIN_DRIVER: &str = r#"
echo "$1 ${4:-$3}" >> "$SANDBOX/calls"
case $1 in
config) printf '{"builds_dir":"%s/builds","cache_dir":"%s/cache","hostname":"node"}' "$SANDBOX" "$SANDBOX" ;;
run)
    rm -f "$BUILD_EXIT_CODE_FILE"
    code=0
    bash "$2" || code=$?
    [ $code = 0 ] || { echo $code > "$BUILD_EXIT_CODE_FILE"; exit 1; }
    ;;
esac
"#;

pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) token: String,
}

impl Sandbox {
    pub(crate) fn new(jobs: Vec<Value>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        Self { server: Server::start(jobs), folder, token: "glrt-0123456789abc".to_owned() }
    }

    /// With a driver whose programs are all one shell script; `extra` goes into `[runners.custom]`.
    pub(crate) fn with_driver(jobs: Vec<Value>, driver: &str, extra: &str) -> Self {
        let sandbox = Self::new(jobs);
        sandbox.write("driver", &format!("#!/bin/bash\n{driver}"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(sandbox.path("driver"), mode).unwrap();
        let program = sandbox.path("driver");
        let mut custom = String::from("executor = \"custom\"\n[runners.custom]\n");
        for stage in ["config", "prepare", "run", "cleanup"] {
            custom.push_str(&format!("{stage}_exec = {program:?}\n{stage}_args = [\"{stage}\"]\n"));
        }
        sandbox.configure(&format!("{custom}{extra}"));
        sandbox
    }

    /// Writes the configuration: one runner called `r`, with these further lines.
    pub(crate) fn configure(&self, lines: &str) {
        let url = self.server.url();
        let token = &self.token;
        self.write(
            "config.toml",
            &format!("[[runners]]\nname = \"r\"\nurl = \"{url}\"\ntoken = \"{token}\"\n{lines}"),
        );
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A command that sees nothing of this process but the folder of its programs.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let own = Path::new(env!("CARGO_BIN_EXE_gitlab-runner")).parent().unwrap();
        let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", path)
            .env("SANDBOX", self.folder.path())
            .env("HOME", self.path("home"));
        command.env("TMPDIR", self.path("tmp")).current_dir(self.folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_gitlab-runner"));
        command
            .args(["run-single", "--config", "config.toml", "--runner", "r"])
            .args(arguments)
            .spawn()
            .unwrap()
    }

    /// Runs the given number of jobs to their end. Returns the runner's own log.
    pub(crate) fn run(&self, jobs: usize) -> String {
        let output = self
            .start(&["--max-builds", &jobs.to_string(), "--wait-timeout", "1"])
            .wait_with_output()
            .unwrap();
        let log = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(output.status.success(), "{output:?}");
        log
    }

    /// The driver's calls: what and which stage.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(|line| line.trim().to_owned()).collect()
    }

    /// What is left in the runner's directory for temporary files.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Runs a shell script in the folder; it must succeed.
    pub(crate) fn shell(&self, script: &str) -> Output {
        let output = self.command("bash").args(["-e", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// A job without git that runs these lines.
pub(crate) fn job(id: u64, script: &[&str]) -> Value {
    json!({
        "id": id, "token": format!("glcbt-64_token{id}"), "allow_git_fetch": true,
        "job_info": {"name": "unit", "stage": "test", "project_id": 42},
        "git_info": {"repo_url": "http://127.0.0.1:9/hpc/solver.git", "ref": "main", "sha": "4f1c2d3e4f50"},
        "runner_info": {"timeout": 60},
        "variables": [{"key": "GIT_STRATEGY", "value": "none", "public": true}],
        "steps": [{"name": "script", "script": script}],
        "features": {"trace_sections": true},
    })
}

/// Adds a variable to a job.
pub(crate) fn set(job: &mut Value, key: &str, value: &str) {
    let variable = json!({"key": key, "value": value, "public": true});
    job["variables"].as_array_mut().unwrap().push(variable);
}

/// Waits until it is true. Ends the test if it never becomes so.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A log without time stamps, colours and section marks.
pub(crate) fn readable(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let line = line.get(32..).unwrap_or(line);
        let mut rest = line.split("\x1b[").collect::<Vec<_>>().into_iter();
        let mut plain = rest.next().unwrap_or("").to_owned();
        for part in rest {
            plain.push_str(part.split_once(['m', 'K']).map_or(part, |(_, after)| after));
        }
        if !plain.starts_with("section_") {
            text.push_str(plain.trim_end_matches('\r'));
            text.push('\n');
        }
    }
    text
}
