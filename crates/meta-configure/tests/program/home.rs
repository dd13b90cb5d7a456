//! The home directory in which the program runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::Expect;
use tempfile::TempDir;

/// A home directory with a configuration, or with none.
pub(crate) struct Home(TempDir);

pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn with_config(text: &str) -> Self {
        let home = Self::new();
        fs::create_dir(home.path().join(".config")).unwrap();
        fs::write(home.config(), text).unwrap();
        home.set_mode(0o600);
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join(".config/gitlab-meta-runner.toml")
    }

    pub(crate) fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.config(), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.outcome(Command::new(env!("CARGO_BIN_EXE_meta-configure")).args(args))
    }

    pub(crate) fn outcome(&self, command: &mut Command) -> Outcome {
        let path = command.get_envs().find(|(name, _)| *name == "PATH");
        let path = path.and_then(|(_, value)| value).map(std::ffi::OsStr::to_owned);
        let output = command.env_clear().env("HOME", self.path()).envs(path.map(|path| ("PATH", path)));
        let output = output.output().unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.path().display().to_string(), "HOME")
        };
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Checks, and expects this report and exit code 3.
    #[track_caller]
    pub(crate) fn refuses(&self, expected: &Expect) {
        let outcome = self.run(&["check"]);
        expected.assert_eq(&outcome.stderr);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""));
    }
}

/// A configuration without problems, with one piece replaced.
pub(crate) fn good_but(from: &str, to: &str) -> String {
    let good = r#"name = "lab"
project = "group/project"
hostname = "gitlab.example.com"
management_token = "glpat-must-not-be-shown"

[runners.big]
tags = ["hpc"]

[poll]
interval = 30

[launch]
executable = "sbatch"
group_size = 1

[runner]
executor = "custom"
builds_dir = "$HOME/builds"
"#;
    assert!(good.contains(from), "{from}");
    good.replace(from, to)
}

/// A home directory in which `big` is registered.
pub(crate) fn registered(config: &str) -> (Home, PathBuf) {
    let home = Home::with_config(config);
    let data = home.path().join(".local/share/gitlab-meta-runner");
    fs::create_dir_all(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let file = data.join("lab.registrations.toml");
    fs::write(&file, "version = 1\n[registrations.big]\nid = 7\ntoken = \"glrt-t3_x\"\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    (home, data)
}
