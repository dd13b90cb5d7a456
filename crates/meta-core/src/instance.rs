//! Expansion of one section for one instance, at the moment of use.

use std::path::Path;

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, Value};

use crate::command_line::CommandLine;
use crate::config::executor::ExecutorConfig;
use crate::config::launch::{LaunchConfig, Scheduler};
use crate::config::runner::{RunnerTemplate, RunnerValue};
use crate::executor_settings::{self, ExecutorSettings};
use crate::template::ExpandError;
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
/// The first variable that is not set.
pub fn expand_launch(launch: &LaunchConfig, variables: &Variables) -> Result<LaunchCommand, ExpandError> {
    let program = launch.executable.expand(variables)?;
    let named_sbatch = Path::new(&program).file_name().is_some_and(|name| name == "sbatch");
    let guessed = if named_sbatch { Scheduler::Slurm } else { Scheduler::None };
    let mut command = CommandLine::new(program, Vec::<String>::new());
    command.args = launch.args.iter().map(|arg| arg.expand(variables)).collect::<Result<_, _>>()?;
    command.cwd = launch.workdir.as_ref().map(|dir| dir.expand(variables)).transpose()?.map(Into::into);
    command.stdin = launch.stdin.as_ref().map(|stdin| stdin.expand(variables)).transpose()?;
    Ok(LaunchCommand { command, timeout_s: launch.timeout_s, scheduler: launch.scheduler.unwrap_or(guessed) })
}

/// Expands `[runner]` to a table of gitlab-runner's configuration, in the order of our file.
///
/// # Errors
/// The first variable that is not set.
pub fn expand_runner(runner: &RunnerTemplate, variables: &Variables) -> Result<Table, ExpandError> {
    expand_table(&runner.entries, variables)
}

/// Expands `[executor]`, on the node.
///
/// # Errors
/// The first variable that is not set, or value that does not fit its key.
pub fn expand_executor(executor: &ExecutorConfig, variables: &Variables) -> Result<ExecutorSettings, ExpandError> {
    executor_settings::expand(executor, variables)
}

fn expand_table(entries: &[(String, RunnerValue)], variables: &Variables) -> Result<Table, ExpandError> {
    let mut table = Table::new();
    for (key, value) in entries {
        let item = match value {
            RunnerValue::Table(entries) => Item::Table(expand_table(entries, variables)?),
            RunnerValue::Tables(tables) => {
                let tables: Result<ArrayOfTables, ExpandError> =
                    tables.iter().map(|entries| expand_table(entries, variables)).collect();
                Item::ArrayOfTables(tables?)
            },
            value => Item::Value(expand_value(value, variables)?),
        };
        table.insert(key, item);
    }
    Ok(table)
}

fn expand_value(value: &RunnerValue, variables: &Variables) -> Result<Value, ExpandError> {
    Ok(match value {
        RunnerValue::Template(template) => template.expand(variables)?.into(),
        RunnerValue::Plain(value) => value.clone(),
        RunnerValue::List(values) => {
            let values: Result<Array, ExpandError> = values.iter().map(|value| expand_value(value, variables)).collect();
            values?.into()
        },
        RunnerValue::Table(entries) => expand_inline(entries, variables)?.into(),
        RunnerValue::Tables(tables) => {
            let tables: Result<Array, ExpandError> =
                tables.iter().map(|entries| Ok(Value::from(expand_inline(entries, variables)?))).collect();
            tables?.into()
        },
    })
}

fn expand_inline(entries: &[(String, RunnerValue)], variables: &Variables) -> Result<InlineTable, ExpandError> {
    entries.iter().map(|(key, value)| Ok((key.clone(), expand_value(value, variables)?))).collect()
}
