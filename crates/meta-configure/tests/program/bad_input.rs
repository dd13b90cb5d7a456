//! The rows of docs/bad-input.md that belong to the configuration; the whole stderr is the expectation.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use crate::home::{Home, good_but};

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
