//! Expansion of one section for one instance, at the moment of use.

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, Value};

use crate::command_line::CommandLine;
use crate::config::launch::{LaunchConfig, Scheduler};
use crate::config::runner::{RunnerTemplate, RunnerValue};
use crate::template::{ExpandError, Expansion};
use crate::variables::Variables;

/// `[launch]` of one instance, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchCommand {
    /// What to run. `cwd` is empty where `workdir` is not given.
    pub command: CommandLine,
    /// Seconds that it may take.
    pub timeout_s: u64,
    /// What can be asked about the launch later.
    pub scheduler: Scheduler,
}

/// Expands `[launch]`. The scheduler is Slurm where the executable's name is `sbatch` and the configuration says nothing.
///
/// # Errors
/// Variables that are not set.
pub fn expand_launch(launch: &LaunchConfig, variables: &Variables) -> Result<LaunchCommand, ExpandError> {
    let expansion = Expansion::new(variables);
    let program = expansion.text(&launch.executable);
    let scheduler = launch.scheduler.clone().unwrap_or_else(|| Scheduler::of_program(&program));
    let mut command = CommandLine::new(program, expansion.texts(&launch.args));
    command.cwd = expansion.optional(&launch.workdir).map(Into::into);
    command.stdin = expansion.optional(&launch.stdin);
    expansion.finish(LaunchCommand { command, timeout_s: launch.timeout_s, scheduler })
}

/// Expands `[runner]` to a table of gitlab-runner's configuration, in the order of our file.
///
/// # Errors
/// Variables that are not set.
pub fn expand_runner(runner: &RunnerTemplate, variables: &Variables) -> Result<Table, ExpandError> {
    let expansion = Expansion::new(variables);
    let table = expand_table(&runner.entries, &expansion);
    expansion.finish(table)
}

fn expand_table(entries: &[(String, RunnerValue)], expansion: &Expansion<'_>) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        let item = match value {
            RunnerValue::Table(entries) => Item::Table(expand_table(entries, expansion)),
            RunnerValue::Tables(tables) => {
                let tables: ArrayOfTables =
                    tables.iter().map(|entries| expand_table(entries, expansion)).collect();
                Item::ArrayOfTables(tables)
            }
            value => Item::Value(expand_value(value, expansion)),
        };
        table.insert(key, item);
    }
    table
}

fn expand_value(value: &RunnerValue, expansion: &Expansion<'_>) -> Value {
    match value {
        RunnerValue::Template(template) => expansion.text(template).into(),
        RunnerValue::Plain(value) => value.clone(),
        RunnerValue::List(values) => {
            values.iter().map(|value| expand_value(value, expansion)).collect::<Array>().into()
        }
        RunnerValue::Table(entries) => expand_inline(entries, expansion).into(),
        RunnerValue::Tables(tables) => {
            tables.iter().map(|entries| expand_inline(entries, expansion)).collect::<Array>().into()
        }
    }
}

fn expand_inline(entries: &[(String, RunnerValue)], expansion: &Expansion<'_>) -> InlineTable {
    entries.iter().map(|(key, value)| (key.clone(), expand_value(value, expansion))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::config::{self, Config};
    use crate::executor_settings;

    fn seed() -> Config {
        let text = include_str!("../../../tests/configs/valid/seed.toml");
        config::parse(Path::new("seed.toml"), text).unwrap()
    }

    fn group() -> Config {
        let text = include_str!("../../../tests/configs/valid/group.toml");
        config::parse(Path::new("group.toml"), text).unwrap()
    }

    fn variables(builtins: &[(&str, &str)]) -> Variables {
        let layer =
            |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut variables = Variables { builtins: layer(builtins), ..Variables::default() };
        variables.builtins.insert("NAME".to_owned(), "test-runner".to_owned());
        variables.environment.insert("HOME".to_owned(), "/home/ci".to_owned());
        variables
    }

    #[test]
    fn the_seed_launches_sbatch() {
        let variables = variables(&[("CONFIG", "/data/x.toml"), ("NUM_JOBS", "1")]);
        let launch = expand_launch(&seed().launch.unwrap(), &variables).unwrap();
        assert_eq!((launch.scheduler, launch.timeout_s), (Scheduler::of_program("sbatch"), 300));
        assert_eq!(launch.command.program, Path::new("sbatch"));
        assert_eq!(launch.command.cwd.as_deref(), Some(Path::new("/home/ci/launch")));
        expect![[r#"
            #!/bin/bash
            gitlab-runner run-single --config /data/x.toml --runner test-runner --max-builds 1 --wait-timeout 1
        "#]]
        .assert_eq(&launch.command.stdin.unwrap());
    }

    #[test]
    fn a_script_keeps_what_belongs_to_its_shell() {
        let variables = variables(&[("CONFIG", "/c"), ("LAUNCH_ID", "5f1c")]);
        let launch = expand_launch(&group().launch.unwrap(), &variables).unwrap();
        assert_eq!(launch.command.to_string(), "/opt/slurm/bin/sbatch --comment=5f1c --gres=gpu:1");
        expect![[r#"
            #!/bin/bash -l
            cd "$(mktemp -d)" && echo $SLURM_JOB_ID $1 $? ${1} "$@" \n
            exec gitlab-runner run-single --config /c --runner test-runner
        "#]]
        .assert_eq(&launch.command.stdin.unwrap());
    }

    #[test]
    fn every_key_of_gitlab_runner_passes() {
        let table =
            expand_runner(&group().runner, &variables(&[("EXECUTOR", "/opt/meta-executor")])).unwrap();
        expect![[r#"
            executor = "custom"
            limit = 4
            environment = ["A=/home/ci", "B=2"]

            [feature_flags]
            FF_SCRIPT_SECTIONS = true

            [custom]
            run_exec = "/opt/meta-executor"
            run_args = ["test-runner", "run"]

            [cache]
            Type = "s3"

            [cache.s3]
            BucketName = "test-runner-cache"

            [docker]

            [[docker.services]]
            name = "postgres:17"

            [[docker.services]]
            name = "redis"
        "#]]
        .assert_eq(&toml_edit::DocumentMut::from(table).to_string());
    }

    #[test]
    fn a_report_of_the_node_names_instance_key_and_place() {
        let config = seed();
        let error =
            executor_settings::expand(config.executor.as_ref().unwrap(), &variables(&[])).unwrap_err();
        expect![[r#"
            error: `executor.description` of instance `test-runner`: `$SLURM_JOB_ID` is not set
               --> seed.toml:37:26
               |
            37 | description = "Slurm job $SLURM_JOB_ID"
               |                          ^^^^^^^^^^^^^
            hint: write `$$SLURM_JOB_ID` for the text itself, `${SLURM_JOB_ID:default}` to have a default, or set it in the environment or in `config_variables`"#]]
        .assert_eq(&error.report(&config.source).to_string());
    }
}
