//! The subcommands, as users of the reference know them, and the programs behind them.

use clap::{Parser, Subcommand};
use meta_host::arguments::CommonArgs;
use meta_host::{Environment, exit};

use crate::become_program::{StartError, replace, run as run_program};

/// A bridge between GitLab CI and an HPC cluster.
#[derive(Debug, Parser)]
#[command(name = "gitlab-meta-runner", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print the documented example configuration
    ShowExampleConfig,
    /// Write it to the configuration file, if there is none
    CreateExampleConfig,
    /// Report every problem of the configuration
    CheckConfig,
    /// Print the sections of every instance as they are used, without secrets
    ShowConfig,
    /// Check what must be there before the first job
    Doctor,
    /// Register the runners and write gitlab-runner's configuration
    Configure,
    /// Launch runners for the jobs that are pending now
    RunSingle,
    /// Launch runners for pending jobs until it is stopped
    Run,
    /// The custom executor, for gitlab-runner
    #[command(disable_help_flag = true)]
    Executor {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Becomes the program of the subcommand; `configure` is two of them.
pub(crate) fn run(args: &Args, environment: &Environment) -> Result<u8, StartError> {
    let (program, word) = match &args.task {
        Task::ShowExampleConfig => ("meta-configure", "example"),
        Task::CreateExampleConfig => ("meta-configure", "create"),
        Task::CheckConfig => ("meta-configure", "check"),
        Task::ShowConfig => ("meta-configure", "show"),
        Task::RunSingle => ("meta-launcher", "once"),
        Task::Run => ("meta-launcher", "run"),
        Task::Doctor => ("meta-configure", "doctor"),
        Task::Executor { args } => return replace(environment, "meta-executor", args.clone()),
        Task::Configure => return configure(args, environment),
    };
    replace(environment, program, with_flags(&args.common, &[word]))
}

/// Registers, then renders. What could be registered is rendered although some instances failed.
fn configure(args: &Args, environment: &Environment) -> Result<u8, StartError> {
    let registered = run_program(environment, "meta-register", with_flags(&args.common, &[]))?;
    if registered != exit::DONE && registered != exit::PARTIAL {
        return Ok(registered);
    }
    let rendered = run_program(environment, "meta-configure", with_flags(&args.common, &["render"]))?;
    Ok(if rendered == exit::DONE { registered } else { rendered })
}

/// The common flags as the other programs take them, and then `words`.
fn with_flags(common: &CommonArgs, words: &[&str]) -> Vec<String> {
    let paths = [
        ("--config-file", &common.config_file),
        ("--data-dir", &common.data_dir),
        ("--generated-config-file", &common.generated_config_file),
    ];
    let mut flags: Vec<String> = paths
        .into_iter()
        .filter_map(|(flag, path)| Some([flag.to_owned(), path.as_ref()?.display().to_string()]))
        .flatten()
        .collect();
    flags.extend((0..common.verbose).map(|_| "-v".to_owned()));
    flags.extend((0..common.quiet).map(|_| "-q".to_owned()));
    flags.extend(words.iter().map(|&word| word.to_owned()));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_before_and_behind_the_subcommand_reach_the_program() {
        let parse = |words: &[&str]| Args::try_parse_from([&["gitlab-meta-runner"], words].concat()).unwrap();
        let expected = ["--config-file", "a.toml", "--data-dir", "d", "-v", "-v", "check"];
        for words in [
            ["--config-file", "a.toml", "--data-dir=d", "-vv", "check-config"],
            ["check-config", "-vv", "--data-dir=d", "--config-file", "a.toml"],
        ] {
            assert_eq!(with_flags(&parse(&words).common, &["check"]), expected);
        }
    }

    #[test]
    fn the_executors_words_are_not_touched() {
        let args = Args::try_parse_from([
            "gitlab-meta-runner",
            "executor",
            "big",
            "run",
            "--data-dir",
            "d",
            "s",
            "x",
        ])
        .unwrap();
        let Task::Executor { args } = args.task else { panic!("not the executor") };
        assert_eq!(args, ["big", "run", "--data-dir", "d", "s", "x"]);
    }
}
