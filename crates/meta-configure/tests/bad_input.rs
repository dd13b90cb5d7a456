//! The rows of docs/bad-input.md that belong to the configuration: the program in a home directory of its own, with
//! nothing in its environment; the whole stderr is the expectation.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests start the program as a user would"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{Expect, expect};
use tempfile::TempDir;

/// A home directory with a configuration, or with none.
struct Home(TempDir);

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_config(text: &str) -> Self {
        let home = Self::new();
        fs::create_dir(home.path().join(".config")).unwrap();
        fs::write(home.config(), text).unwrap();
        home.set_mode(0o600);
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join(".config/gitlab-meta-runner.toml")
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(self.config(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.outcome(Command::new(env!("CARGO_BIN_EXE_meta-configure")).args(args))
    }

    fn outcome(&self, command: &mut Command) -> Outcome {
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
    fn refuses(&self, expected: &Expect) {
        let outcome = self.run(&["check"]);
        expected.assert_eq(&outcome.stderr);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""));
    }
}

/// A configuration without problems, with one piece replaced.
fn good_but(from: &str, to: &str) -> String {
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

#[test]
fn a_good_one_is_silent() {
    let outcome = Home::with_config(&good_but("", "")).run(&["check"]);
    assert_eq!((outcome.code, outcome.stdout, outcome.stderr), (Some(0), String::new(), String::new()));
}

#[test]
fn missing_file() {
    Home::new().refuses(&expect![[r#"
        error: cannot read `HOME/.config/gitlab-meta-runner.toml`
        caused by: No such file or directory (os error 2)
        hint: run `gitlab-meta-runner create-example-config` to make one, or name yours with `--config-file`
    "#]]);
}

#[test]
fn bad_toml() {
    Home::with_config(&good_but("interval = 30", "interval 30")).refuses(&expect![[r#"
        error: not TOML: key with no value, expected `=`
           --> HOME/.config/gitlab-meta-runner.toml:10:10
           |
        10 | interval 30
           |          ^
        hint: write one `key = value` per line, text in quotes: `key = "text"`
    "#]]);
}

#[test]
fn bad_toml_in_the_line_of_the_token() {
    Home::with_config(&good_but("management_token =", "management_token")).refuses(&expect![[r#"
        error: not TOML: key with no value, expected `=`
          --> HOME/.config/gitlab-meta-runner.toml:4:18
          |
        4 | management_token = <redacted>
          | ^^^^^^^^^^^^^^^^
        hint: write one `key = value` per line, text in quotes: `key = "text"`
    "#]]);
}

#[test]
fn unknown_key() {
    Home::with_config(&good_but("group_size", "groupsize")).refuses(&expect![[r#"
        error: unknown key `groupsize` in `[launch]`
           --> HOME/.config/gitlab-meta-runner.toml:14:1
           |
        14 | groupsize = 1
           | ^^^^^^^^^
        hint: did you mean `group_size`?
    "#]]);
}

#[test]
fn unknown_variable() {
    Home::with_config(&good_but("$HOME/builds", "$SCRATCH/builds")).refuses(&expect![[r#"
        error: `runner.builds_dir` of instance `big`: `$SCRATCH` is not set
           --> HOME/.config/gitlab-meta-runner.toml:18:15
           |
        18 | builds_dir = "$SCRATCH/builds"
           |               ^^^^^^^^
        hint: write `$$SCRATCH` for the text itself, `${SCRATCH:default}` to have a default, or set it in the environment or in `config_variables`
    "#]]);
}

#[test]
fn arguments_that_hide_a_launch() {
    let args = "group_size = 1\nargs = [\"--mem=1G\", \"--comment=ci\", \"--clusters=gpu\"]";
    Home::with_config(&good_but("group_size = 1", args)).refuses(&expect![[r#"
        error: `launch.args` of instance `big`: `--comment=ci` takes the place of the mark by which a launch is found in the queue
           --> HOME/.config/gitlab-meta-runner.toml:15:21
           |
        15 | args = ["--mem=1G", "--comment=ci", "--clusters=gpu"]
           |                     ^^^^^^^^^^^^^^
        hint: write `$LAUNCH_ID` into it, or leave it out

        error: `launch.args` of instance `big`: `--clusters=gpu` sends launches where `query` does not look, so that they would be made again and again
           --> HOME/.config/gitlab-meta-runner.toml:15:37
           |
        15 | args = ["--mem=1G", "--comment=ci", "--clusters=gpu"]
           |                                     ^^^^^^^^^^^^^^^^
        hint: give `query`, `cancel` and `history` in `[schedulers]` the same option (admin guide, The launcher)
    "#]]);
}

#[test]
fn a_batch_system_whose_templates_lack_a_variable() {
    let table = "group_size = 1\n\n[schedulers.slurm]\nquery = [\"squeue\", \"--account=$ACCOUNT\"]\ncancel = [\"A=1\"]";
    Home::with_config(&good_but("group_size = 1", table)).refuses(&expect![[r#"
        error: `cancel` is missing in `[schedulers.slurm]`
           --> HOME/.config/gitlab-meta-runner.toml:16:1
           |
        16 | [schedulers.slurm]
           | ^^^^^^^^^^^^^^^^^^
        hint: write the program and its arguments: `cancel = ["..."]`
    "#]]);
    let table = "group_size = 1\n\n[schedulers.slurm]\nquery = [\"squeue\", \"--account=$ACCOUNT\"]\ncancel = [\"scancel\", \"$NAME\"]";
    Home::with_config(&good_but("group_size = 1", table)).refuses(&expect![[r#"
        error: `schedulers.slurm.query` of instance `big`: `$ACCOUNT` is not set
           --> HOME/.config/gitlab-meta-runner.toml:17:31
           |
        17 | query = ["squeue", "--account=$ACCOUNT"]
           |                               ^^^^^^^^
        hint: write `$$ACCOUNT` for the text itself, `${ACCOUNT:default}` to have a default, or set it in the environment or in `config_variables`
    "#]]);
}

#[test]
fn unknown_variable_of_the_node_is_a_note() {
    let outcome =
        Home::with_config(&good_but("[runner]", "[executor]\ndescription = \"$SLURM_JOB_ID\"\n[runner]"))
            .run(&["check"]);
    assert_eq!(outcome.code, Some(0));
    expect![[r#"
        warning: on the compute node: `executor.description` of instance `big`: `$SLURM_JOB_ID` is not set
           --> HOME/.config/gitlab-meta-runner.toml:17:16
           |
        17 | description = "$SLURM_JOB_ID"
           |                ^^^^^^^^^^^^^
        hint: write `$$SLURM_JOB_ID` for the text itself, `${SLURM_JOB_ID:default}` to have a default, or set it in the environment or in `config_variables`
    "#]]
    .assert_eq(&outcome.stderr);
}

#[test]
fn every_variable_that_is_missing_is_told_once() {
    let config = good_but(
        "executable = \"sbatch\"",
        "executable = \"$SUBMIT\"\nargs = [\"-A$ACCOUNT\"]\nstdin = \"$A $B\"",
    )
    .replace("[poll]", "[runners.small]\ntags = [\"small\"]\n[poll]");
    Home::with_config(&config).refuses(&expect![[r#"
        error: `launch.executable` of instances `big`, `small`: `$SUBMIT` is not set
           --> HOME/.config/gitlab-meta-runner.toml:15:15
           |
        15 | executable = "$SUBMIT"
           |               ^^^^^^^
        hint: write `$$SUBMIT` to leave it to the shell of the batch job, `${SUBMIT:default}` to have a default, or set it in the environment or in `config_variables`

        error: `launch.args` of instances `big`, `small`: `$ACCOUNT` is not set
           --> HOME/.config/gitlab-meta-runner.toml:16:12
           |
        16 | args = ["-A$ACCOUNT"]
           |            ^^^^^^^^
        hint: write `$$ACCOUNT` to leave it to the shell of the batch job, `${ACCOUNT:default}` to have a default, or set it in the environment or in `config_variables`

        error: `launch.stdin` of instances `big`, `small`: `$A` is not set
           --> HOME/.config/gitlab-meta-runner.toml:17:10
           |
        17 | stdin = "$A $B"
           |          ^^
        hint: write `$$A` to leave it to the shell of the batch job, `${A:default}` to have a default, or set it in the environment or in `config_variables`

        error: `launch.stdin` of instances `big`, `small`: `$B` is not set
           --> HOME/.config/gitlab-meta-runner.toml:17:13
           |
        17 | stdin = "$A $B"
           |             ^^
        hint: write `$$B` to leave it to the shell of the batch job, `${B:default}` to have a default, or set it in the environment or in `config_variables`
    "#]]);
}

#[test]
fn values_of_the_executor_that_are_wrong_anywhere() {
    let executor = "[executor]\npull_policy = \"alwys\"\nmount = [\"nonsense\", \"$SLURM_X:/a\"]\n[runner]";
    Home::with_config(&good_but("[runner]", executor)).refuses(&expect![[r#"
        warning: on the compute node: `executor.mount` of instance `big`: `$SLURM_X` is not set
           --> HOME/.config/gitlab-meta-runner.toml:18:23
           |
        18 | mount = ["nonsense", "$SLURM_X:/a"]
           |                       ^^^^^^^^
        hint: write `$$SLURM_X` for the text itself, `${SLURM_X:default}` to have a default, or set it in the environment or in `config_variables`
        error: `executor.pull_policy` of instance `big` has no value `alwys`
           --> HOME/.config/gitlab-meta-runner.toml:17:15
           |
        17 | pull_policy = "alwys"
           |               ^^^^^^^
        hint: write `"always"`, `"if-not-present"` or `"never"`

        error: `executor.mount` of instance `big` has no mount `nonsense`
           --> HOME/.config/gitlab-meta-runner.toml:18:10
           |
        18 | mount = ["nonsense", "$SLURM_X:/a"]
           |          ^^^^^^^^^^
        hint: write two absolute paths: `"/on/the/host:/in/the/job"`, with `:ro` behind to forbid writing
    "#]]);
}

#[test]
fn wrong_type() {
    Home::with_config(&good_but("interval = 30", "interval = \"30\"")).refuses(&expect![[r#"
        error: `poll.interval` is a string, and must be an integer
           --> HOME/.config/gitlab-meta-runner.toml:10:12
           |
        10 | interval = "30"
           |            ^^^^
        hint: write a whole number of seconds without quotes: `interval = 30`
    "#]]);
}

#[test]
fn empty_tags() {
    Home::with_config(&good_but("[\"hpc\"]", "[]")).refuses(&expect![[r#"
        error: `runners.big.tags` is empty
          --> HOME/.config/gitlab-meta-runner.toml:7:8
          |
        7 | tags = []
          |        ^^
        hint: write at least one: `tags = ["..."]`, or `run_untagged = true` to take jobs without tags
    "#]]);
}

#[test]
fn every_problem_at_once() {
    let config = good_but("interval = 30", "interval = 0").replace("group_size = 1", "group_size = 0");
    Home::with_config(&config).refuses(&expect![[r#"
        error: `poll.interval` is 0, and must be at least 1 seconds
           --> HOME/.config/gitlab-meta-runner.toml:10:12
           |
        10 | interval = 0
           |            ^
        hint: write `interval = 1` or more

        error: `launch.group_size` is 0, and must be at least 1
           --> HOME/.config/gitlab-meta-runner.toml:14:14
           |
        14 | group_size = 0
           |              ^
        hint: write `group_size = 1` or more
    "#]]);
}

#[test]
fn readable_by_others() {
    let home = Home::with_config(&good_but("", ""));
    home.set_mode(0o644);
    home.refuses(&expect![[r#"
        error: cannot use `HOME/.config/gitlab-meta-runner.toml`
        caused by: group or others may access it (mode 644)
        hint: run `chmod 600 HOME/.config/gitlab-meta-runner.toml`
    "#]]);
}

#[test]
fn files_that_are_named_and_not_there_or_open() {
    let keys = "management_token_file = \"~/token\"\nca_file = \"$HOME/ca.pem\"";
    let home = Home::with_config(&good_but("management_token = \"glpat-must-not-be-shown\"", keys));
    fs::write(home.path().join("token"), "glpat-1").unwrap();
    fs::set_permissions(home.path().join("token"), fs::Permissions::from_mode(0o640)).unwrap();
    home.refuses(&expect![[r#"
        error: `management_token_file`: cannot use `HOME/token`: group or others may access it (mode 640)
          --> HOME/.config/gitlab-meta-runner.toml:4:25
          |
        4 | management_token_file = "~/token"
          |                         ^^^^^^^^^
        hint: run `chmod 600 HOME/token`

        error: `ca_file`: cannot read `HOME/ca.pem`: No such file or directory (os error 2)
          --> HOME/.config/gitlab-meta-runner.toml:5:11
          |
        5 | ca_file = "$HOME/ca.pem"
          |           ^^^^^^^^^^^^^^
        hint: write the path of a file that you can read
    "#]]);
}

#[test]
fn not_registered_yet() {
    let outcome = Home::with_config(&good_but("", "")).run(&[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""));
    expect![[r#"
        error: no runner is registered
        hint: run `gitlab-meta-runner configure`
    "#]]
    .assert_eq(&outcome.stderr);
}

/// A home directory in which `big` is registered.
fn registered(config: &str) -> (Home, PathBuf) {
    let home = Home::with_config(config);
    let data = home.path().join(".local/share/gitlab-meta-runner");
    fs::create_dir_all(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let file = data.join("lab.registrations.toml");
    fs::write(&file, "version = 1\n[registrations.big]\nid = 7\ntoken = \"glrt-t3_x\"\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    (home, data)
}

#[test]
fn one_instance_without_registration_does_not_stop_the_others() {
    let (home, data) = registered(&good_but("[poll]", "[runners.new]\ntags = [\"new\"]\n[poll]"));
    let outcome = home.run(&["render"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""));
    expect![[r#"
        warning: instance `new` is not registered and is left out of gitlab-runner's configuration
    "#]]
    .assert_eq(&outcome.stderr);
    let generated = data.join("lab.gitlab-runner.toml");
    let text = fs::read_to_string(&generated).unwrap();
    expect![[r#"
        concurrent = 1

        [[runners]]
        builds_dir = "HOME/builds"
        executor = "custom"
        id = 7
        name = "big"
        token = "glrt-t3_x"
        url = "https://gitlab.example.com"
    "#]]
    .assert_eq(&text.replace(&home.path().display().to_string(), "HOME"));
    assert_eq!(generated.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let node = fs::read_to_string(data.join("lab.executor.toml")).unwrap();
    assert!(node.contains("[instances.big]") && !node.contains("token"), "{node}");
    home.run(&["render"]);
    assert_eq!(fs::read_to_string(&generated).unwrap(), text);
}

#[test]
fn the_example_is_created_once() {
    let home = Home::new();
    let first = home.run(&["create"]);
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let second = home.run(&["create"]);
    assert_eq!(second.code, Some(3));
    expect![[r#"
        error: `HOME/.config/gitlab-meta-runner.toml` exists and is left as it is
        hint: edit it, or name another one with `--config-file`
    "#]]
    .assert_eq(&second.stderr);
    assert_eq!(fs::read_to_string(home.config()).unwrap(), home.run(&["example"]).stdout);
}

#[test]
fn a_registration_is_at_work() {
    let (home, data) = registered(&good_but("", ""));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let holder = format!("{{\"host\": \"login9\", \"pid\": 42, \"started\": 1, \"renewed\": {now}}}\n");
    fs::write(data.join("lab.lease"), holder).unwrap();
    let outcome = home.run(&[]);
    assert_eq!(outcome.code, Some(1));
    expect![[r#"
        error: another process works on this: pid 42 on `login9` holds `HOME/.local/share/gitlab-meta-runner/lab.lease`
        hint: wait for it to end; if `login9` is down, the lock is free 300 s after its last renewal
    "#]].assert_eq(&outcome.stderr);
    assert!(!data.join("lab.gitlab-runner.toml").exists());
}

/// The lines of `doctor` about one thing.
fn finding(outcome: &Outcome, subject: &str) -> String {
    let lines =
        outcome.stdout.lines().filter(|line| line.get(6..).is_some_and(|text| text.starts_with(subject)));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn doctor_asks_gitlab_on_the_login_node() {
    let home =
        Home::with_config(&good_but("hostname = \"gitlab.example.com\"", "url = \"http://127.0.0.1:1\""));
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let doctor = bin.join("meta-configure");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_meta-configure"), &doctor).unwrap();
    write_program(&bin.join("meta-register"), "echo \"$1 $#\" >&2; exit 4");
    let outcome = home.outcome(Command::new(&doctor).arg("doctor"));
    assert_eq!(outcome.code, Some(3));
    assert_eq!(
        finding(&outcome, "configuration"),
        "ok    configuration: HOME/.config/gitlab-meta-runner.toml\n"
    );
    assert!(outcome.stdout.contains("fail  GitLab:\n--dry-run 5\n"), "{}", outcome.stdout);
    write_program(&bin.join("meta-register"), "");
    let outcome = home.outcome(Command::new(&doctor).arg("doctor"));
    let reached = "ok    GitLab: the management token may look at projects and runners\n";
    assert_eq!(finding(&outcome, "GitLab"), reached);
}

#[test]
fn doctor_takes_a_machine_without_configuration_for_a_node() {
    let (home, data) = registered(&good_but("", ""));
    home.run(&["render"]);
    fs::remove_file(home.config()).unwrap();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    write_program(&bin.join("apptainer"), "echo apptainer version 1.2.5");
    write_program(
        &bin.join("gitlab-runner"),
        "test \"$1 $2\" = 'verify --config' && test -f \"$3\" && echo 'Verifying runner... is valid' >&2",
    );
    let doctor =
        || home.outcome(Command::new(env!("CARGO_BIN_EXE_meta-configure")).arg("doctor").env("PATH", &bin));
    let outcome = doctor();
    assert_eq!(outcome.code, Some(3));
    assert!(finding(&outcome, "no configuration").ends_with(": a compute node\n"), "{}", outcome.stdout);
    assert!(finding(&outcome, "git:").starts_with("fail"), "{}", outcome.stdout);
    assert!(finding(&outcome, "HOME/bin/apptainer").starts_with("fail"), "{}", outcome.stdout);
    assert!(finding(&outcome, "GitLab").starts_with("ok"), "{}", outcome.stdout);
    assert!(!finding(&outcome, "node_dir: /var/tmp/").is_empty(), "{}", outcome.stdout);
    fs::remove_file(data.join("lab.gitlab-runner.toml")).unwrap();
    assert!(finding(&doctor(), "GitLab").starts_with("fail"));
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
