//! Expansion of one section for one instance, at the moment of use.

use std::collections::BTreeMap;

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, Value};

use crate::command_line::CommandLine;
use crate::config::launch::{LaunchConfig, Scheduler, is_directive};
use crate::config::runner::{RunnerTemplate, RunnerValue};
use crate::config::schedulers::{Pattern, SchedulerConfig};
use crate::template::{ExpandError, Expansion, Fault};
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
/// Variables that are not set, in the description of the scheduler too, and arguments that would hide the launch from it.
pub fn expand_launch(
    launch: &LaunchConfig,
    schedulers: &BTreeMap<String, SchedulerConfig>,
    variables: &Variables,
) -> Result<LaunchCommand, ExpandError> {
    let expansion = Expansion::new(variables);
    let program = expansion.text(&launch.executable);
    let scheduler = launch.scheduler.clone().unwrap_or_else(|| Scheduler::of_program(&program));
    let description = match &scheduler {
        Scheduler::Known(name) => schedulers.get(name),
        Scheduler::None => None,
    };
    let visible = |text: &str, is_arg| match description {
        Some(scheduler) => find_hidden(launch, scheduler, text, is_arg),
        None => Ok(text.to_owned()),
    };
    let args =
        launch.args.iter().map(|arg| expansion.value(arg, |text| visible(text, true)).unwrap_or_default());
    let mut command = CommandLine::new(program, args);
    command.cwd = expansion.optional(&launch.workdir).map(Into::into);
    command.stdin = launch
        .stdin
        .as_ref()
        .map(|script| expansion.value(script, |text| visible(text, false)).unwrap_or_default());
    let mut faults = expansion.finish(()).err().map_or_else(Vec::new, |error| error.faults);
    faults.extend(description.into_iter().flat_map(|scheduler| faults_of(scheduler, variables)));
    if faults.is_empty() {
        Ok(LaunchCommand { command, timeout_s: launch.timeout_s, scheduler })
    } else {
        Err(ExpandError { faults })
    }
}

/// The text, unless a launch would not be found in the queue because of it.
fn find_hidden(
    launch: &LaunchConfig,
    scheduler: &SchedulerConfig,
    text: &str,
    is_arg: bool,
) -> Result<String, (String, &'static str)> {
    // What else a script says is for its shell.
    let lines: Vec<&str> =
        if is_arg { vec![text] } else { text.lines().filter(|line| is_directive(line)).collect() };
    let found = |pattern: &Option<Pattern>| {
        let pattern = pattern.as_ref()?.regex();
        lines.iter().copied().find(|line| pattern.is_match(line))
    };
    if is_arg
        && !launch.uses_launch_id()
        && let Some(option) = found(&scheduler.mark_replaced)
    {
        let reason =
            format!(": `{option}` takes the place of the mark by which a launch is found in the queue");
        return Err((reason, "write `$LAUNCH_ID` into it, or leave it out"));
    }
    if let Some(option) = found(&scheduler.sent_elsewhere)
        && let Some(pattern) = &scheduler.sent_elsewhere
        && !scheduler.query.iter().any(|word| pattern.regex().is_match(word.text()))
    {
        let reason = format!(
            ": `{option}` sends launches where `query` does not look, so that they would be made again and again"
        );
        let hint = "give `query`, `cancel` and `history` in `[schedulers]` the same option (admin guide, The launcher)";
        return Err((reason, hint));
    }
    Ok(text.to_owned())
}

/// What is in the way of the description's own templates, whatever the variables are that it gives them.
fn faults_of(scheduler: &SchedulerConfig, variables: &Variables) -> Vec<Fault> {
    let mut variables = variables.clone();
    for name in ["MARK", "LAUNCH_ID", "COUNT", "ID", "TASK", "IDS"] {
        variables.builtins.insert(name.to_owned(), String::new());
    }
    let expansion = Expansion::new(&variables);
    let lists = [
        &scheduler.submit_args,
        &scheduler.submit_args_unmarked,
        &scheduler.array_args,
        &scheduler.query,
        &scheduler.cancel,
        &scheduler.history,
    ];
    lists.into_iter().for_each(|templates| drop(expansion.texts(templates)));
    expansion.optional(&scheduler.task);
    expansion.finish(()).err().map_or_else(Vec::new, |error| error.faults)
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

    fn launched(config: &Config, variables: &Variables) -> Result<LaunchCommand, ExpandError> {
        expand_launch(config.launch.as_ref().unwrap(), &config.schedulers, variables)
    }

    #[test]
    fn the_seed_launches_sbatch() {
        let variables = variables(&[("CONFIG", "/data/x.toml"), ("NUM_JOBS", "1")]);
        let launch = launched(&seed(), &variables).unwrap();
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
        let launch = launched(&group(), &variables).unwrap();
        assert_eq!(launch.command.to_string(), "/opt/slurm/bin/sbatch --comment=5f1c --gres=gpu:1");
        expect![[r#"
            #!/bin/bash -l
            cd "$(mktemp -d)" && echo $SLURM_JOB_ID $1 $? ${1} "$@" \n
            exec gitlab-runner run-single --config /c --runner test-runner
        "#]]
        .assert_eq(&launch.command.stdin.unwrap());
    }

    /// What is wrong with these arguments of sbatch, and this script.
    fn reasons(args: &str, script: &str, more: &str) -> Vec<String> {
        let text = include_str!("../../../tests/configs/valid/seed.toml");
        let (head, tail) = text.split_once("[launch]").unwrap();
        let (_, rest) = tail.split_once("\n[").unwrap();
        let launch =
            format!("executable = \"sbatch\"\nargs = [{args}]\nstdin = \"\"\"\n{script}\"\"\"\n{more}");
        let text = format!("{head}[launch]\n{launch}\n[{rest}");
        let config = config::parse(Path::new("x.toml"), &text).unwrap();
        let variables = variables(&[("LAUNCH_ID", "5f1c"), ("CLUSTER", "gpu")]);
        let error = launched(&config, &variables).err();
        error
            .iter()
            .flat_map(|error| &error.faults)
            .map(|fault| format!("{}{}", fault.key, fault.reason))
            .collect()
    }

    #[test]
    fn what_hides_a_launch_from_the_batch_system_is_refused() {
        let mark =
            "launch.args: `--comment=x` takes the place of the mark by which a launch is found in the queue";
        assert_eq!(reasons("\"--comment=x\"", "", ""), [mark]);
        let other = |key: &str, option: &str| {
            [format!(
                "launch.{key}: `{option}` sends launches where `query` does not look, so that they would be made again and again"
            )]
        };
        assert_eq!(reasons("\"--clusters=$CLUSTER\"", "", ""), other("args", "--clusters=gpu"));
        assert_eq!(reasons("\"-M\", \"gpu\"", "", ""), other("args", "-M"));
        let line = "#SBATCH --time=1 --clusters=gpu";
        assert_eq!(reasons("", &format!("#!/bin/sh\n{line}\nexec true\n"), ""), other("stdin", line));
        for (args, script, more) in [
            (
                "\"--comment=x-$LAUNCH_ID\", \"--job-name=x\", \"--mem=1\"",
                "#!/bin/sh\n#SBATCH --comment=y\necho --clusters \\\\\n-M\n",
                "",
            ),
            ("\"--comment=x\"", "#!/bin/sh\n#SBATCH --job-name=x-$LAUNCH_ID\n", ""),
            ("\"-M\", \"$CLUSTER\"", "", "[schedulers.slurm]\nquery = [\"squeue\", \"-M\", \"$CLUSTER\"]\n"),
        ] {
            assert_eq!(reasons(args, script, more), [""; 0], "{args}");
        }
    }

    #[test]
    fn the_description_of_the_batch_system_is_expanded_too() {
        let table = "[schedulers.slurm]\nquery = [\"squeue\", \"$NOPE\"]\ncancel = [\"scancel\", \"$CLUSTER\"]\nhistory = [\"sacct\", \"$IDS\"]\n";
        assert_eq!(reasons("", "", table), ["schedulers.slurm.query: `$NOPE` is not set"]);
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
