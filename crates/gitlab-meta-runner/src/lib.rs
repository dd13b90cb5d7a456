//! The front: `gitlab-meta-runner SUBCOMMAND` finds the right program beside it and becomes it.

mod become_program;
mod cli;

use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};

/// The command line, for its manual page and shell completions.
pub fn command() -> Command {
    cli::Args::command()
}

/// The whole program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    // gitlab-runner calls this for every stage of every job: nothing is parsed on the way.
    if words.get(1).is_some_and(|word| word == "executor") {
        let rest = words[2..].to_vec();
        return meta_host::app::run(log::LevelFilter::Warn, |environment| {
            become_program::replace(environment, "meta-executor", rest)
        });
    }
    let args = cli::Args::parse();
    meta_host::app::run(args.common.level(), |environment| cli::run(&args, environment))
}
