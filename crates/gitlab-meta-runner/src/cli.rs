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
        Task::Executor { args: words } => {
            return replace(environment, "meta-executor", executor_words(&args.common, words));
        }
        Task::Configure => return configure(args, environment),
    };
    replace(environment, program, with_flags(&args.common, &[word]))
}

/// The reference system takes its flags in front of `executor`. Of them the executor needs the data directory, which
/// generated configurations give it behind.
fn executor_words(common: &CommonArgs, words: &[String]) -> Vec<String> {
    let is_given = words.iter().any(|word| word == "--data-dir" || word.starts_with("--data-dir="));
    let data_dir = common.data_dir.as_ref().filter(|_| !is_given);
    let flag = data_dir.map(|path| ["--data-dir".to_owned(), path.display().to_string()]);
    words.iter().cloned().chain(flag.into_iter().flatten()).collect()
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
    fn the_executor_gets_its_words_and_the_data_directory_once() {
        let words = |words: &[&str]| {
            let args = Args::try_parse_from([&["gitlab-meta-runner"], words].concat()).unwrap();
            let Task::Executor { args: words } = &args.task else { panic!("not the executor") };
            executor_words(&args.common, words)
        };
        let expected = ["big", "run", "s", "x", "--data-dir", "d"];
        assert_eq!(words(&["executor", "big", "run", "s", "x", "--data-dir", "d"]), expected);
        assert_eq!(words(&["--data-dir", "d", "executor", "big", "run", "s", "x"]), expected);
        assert_eq!(
            words(&[
                "--config-file",
                "c",
                "--data-dir=e",
                "-v",
                "executor",
                "big",
                "run",
                "s",
                "x",
                "--data-dir",
                "d"
            ]),
            expected
        );
        assert_eq!(words(&["-q", "executor", "big", "config"]), ["big", "config"]);
    }

    /// `cli.rs` of the reference system: its flags stand in front of the subcommand.
    #[test]
    fn every_command_line_of_the_reference_is_understood() {
        let flags = [
            "--config-file=c",
            "--data-dir",
            "d",
            "--generated-config-file",
            "g",
            "--verbose",
            "-v",
            "--quiet",
            "-q",
        ];
        for command in [
            "create-example-config",
            "show-example-config",
            "check-config",
            "show-config",
            "configure",
            "run-single",
            "run",
        ] {
            let words = [&["gitlab-meta-runner"][..], &flags, &[command]].concat();
            let common = Args::try_parse_from(words).unwrap().common;
            let passed = [
                "--config-file",
                "c",
                "--data-dir",
                "d",
                "--generated-config-file",
                "g",
                "-v",
                "-v",
                "-q",
                "-q",
            ];
            assert_eq!(with_flags(&common, &[]), passed, "{command}");
        }
        for stage in [&["config"][..], &["prepare"], &["run", "script", "step"], &["cleanup"]] {
            let words = [&["gitlab-meta-runner"][..], &flags, &["executor", "big"], stage].concat();
            assert!(matches!(Args::try_parse_from(words).unwrap().task, Task::Executor { .. }));
        }
    }
}
