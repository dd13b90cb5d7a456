//! A job of the custom executor, played without gitlab-runner: the four calls, as gitlab-runner makes them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed;

/// The codes that gitlab-runner would name; odd ones, so that nothing passes by chance.
pub const BUILD_FAILURE: i32 = 61;
pub const SYSTEM_FAILURE: i32 = 62;

/// A site: a data directory with one instance, `big`, and the node's directories. Removed on drop.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
}

/// One job of a site.
#[derive(Debug)]
pub struct Job<'a> {
    site: &'a Site,
    /// gitlab-runner's temporary directory.
    temporary: PathBuf,
    environment: Vec<(String, String)>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// stdout and stderr, one behind the other.
    pub log: String,
    /// Content of `BUILD_EXIT_CODE_FILE`.
    pub script_code: Option<String>,
}

impl Site {
    /// A site whose `[executor]` has these lines beside the directories.
    pub fn new(executor: &str) -> Self {
        let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
        let site = Self { directory };
        let text = format!(
            "version = 1\nname = \"test\"\n[executor]\nbuilds_dir = \"{0}/builds\"\nnode_dir = \"{0}/node\"\n{executor}\n\
             [instances.big]\ncache_dir = \"{0}/cache\"\n[instances.big.config_variables]\nSITE = \"bed\"\n",
            site.path().display()
        );
        let data = site.data_dir();
        fs::create_dir(&data).expect("the site's directory is new");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("the data directory is ours");
        let file = data.join("test.executor.toml");
        fs::write(&file, text).expect("the data directory is writable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        site
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A job in `image`, with the variables and the keys of `extra` in its payload.
    pub fn job(&self, image: &str, extra: Value) -> Job<'_> {
        let temporary = tempfile::Builder::new()
            .prefix("custom-executor")
            .tempdir_in(self.path())
            .expect("the site is writable")
            .keep();
        let mut payload = json!({
            "id": 1,
            "job_info": { "project_id": 7 },
            "git_info": { "protected": null },
            "variables": [{ "key": "CI_JOB_ID", "value": "1" }],
            "image": { "name": image, "entrypoint": null, "executor_opts": { "docker": {}, "kubernetes": {} } },
            "services": null,
            "credentials": null,
        });
        merge(&mut payload, extra);
        fs::write(temporary.join("response.json"), payload.to_string())
            .expect("the temporary directory is new");
        Job { site: self, temporary, environment: Vec::new() }
    }

    /// The directories of jobs that are there.
    pub fn jobs_left(&self) -> Vec<PathBuf> {
        ["builds", "node/overlay"].iter().flat_map(|name| children(&self.path().join(name))).collect()
    }

    /// Unpacked images, complete or not.
    pub fn images(&self) -> Vec<PathBuf> {
        let images = children(&self.path().join("node/images"));
        images.into_iter().filter(|path| path.join("rootfs").exists()).collect()
    }
}

impl Drop for Site {
    /// Images have files of subordinate ids, which only a user namespace can remove.
    fn drop(&mut self) {
        let trees = children(self.path());
        let _ =
            Command::new("unshare").args(["--map-auto", "--map-root-user", "rm", "-rf"]).args(trees).status();
    }
}

impl Job<'_> {
    /// Adds a variable to the environment of all calls.
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn config(&self) -> Ended {
        self.call(&["config"])
    }

    pub fn prepare(&self) -> Ended {
        self.call(&["prepare"])
    }

    /// Prepares, and fails the test with the log if that fails.
    pub fn prepared(self) -> Self {
        let ended = self.prepare();
        assert_eq!(ended.code, 0, "{}", ended.log);
        self
    }

    pub fn run(&self, stage: &str, script: &str) -> Ended {
        let path = self.script(script);
        self.call(&["run", &path, stage])
    }

    /// Starts a script as the leader of its own process group, as gitlab-runner does.
    pub fn start(&self, stage: &str, script: &str) -> Child {
        let path = self.script(script);
        let mut command = self.command(&["run", &path, stage]);
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("meta-executor starts")
    }

    pub fn cleanup(&self) -> Ended {
        self.call(&["cleanup"])
    }

    pub fn exit_code_file(&self) -> PathBuf {
        self.temporary.join("build_exit_code")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(bed::program("meta-executor"));
        command
            .arg("big")
            .args(&words[..1])
            .args(["--data-dir".as_ref(), self.site.data_dir().as_os_str()])
            .args(&words[1..])
            .env("JOB_RESPONSE_FILE", self.temporary.join("response.json"))
            .env("BUILD_EXIT_CODE_FILE", self.exit_code_file())
            .env("TMPDIR", &self.temporary)
            .env("BUILD_FAILURE_EXIT_CODE", BUILD_FAILURE.to_string())
            .env("SYSTEM_FAILURE_EXIT_CODE", SYSTEM_FAILURE.to_string())
            .envs(self.environment.iter().cloned())
            .current_dir(&self.temporary)
            .stdin(Stdio::null());
        command
    }

    /// Writes a script where gitlab-runner would. Gives its path.
    pub fn script(&self, script: &str) -> String {
        let directory = TempDir::new_in(&self.temporary).expect("the temporary directory is writable").keep();
        let path = directory.join("script.sh");
        fs::write(&path, script).expect("the directory is new");
        path.display().to_string()
    }

    fn call(&self, words: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(words).output().expect("meta-executor starts");
        let log = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let script_code = fs::read_to_string(self.exit_code_file()).ok();
        Ended { code: status.code().unwrap_or(-1), log, script_code }
    }
}

impl Ended {
    /// Asserts success and gives the log.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}", self.log);
        self.log
    }

    /// Asserts how the call failed and that the log says `text`.
    pub fn failed(&self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{}", self.log);
        assert!(self.log.contains(text), "`{text}` is not in:\n{}", self.log);
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn merge(target: &mut Value, extra: Value) {
    match (target, extra) {
        (Value::Object(target), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, extra) => *target = extra,
    }
}
