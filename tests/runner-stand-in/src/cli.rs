//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Custom, Runner};
use crate::executor::Kind;
use crate::helper::{artifacts_downloader, artifacts_uploader, cache_archiver, cache_extractor};
use crate::runner_log::{self, chain, fatal};
use crate::single::{self, Limits};
use crate::version;

#[derive(Debug, Parser)]
#[command(name = "gitlab-runner", about = "A stand-in for gitlab-runner", disable_version_flag = true)]
struct Cli {
    /// Print the version, and what the stand-in lacks
    #[arg(short = 'v', long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start single runner
    RunSingle(Box<RunSingle>),
    /// Create and upload build artifacts (internal)
    ArtifactsUploader(artifacts_uploader::Arguments),
    /// Download and extract build artifacts (internal)
    ArtifactsDownloader(artifacts_downloader::Arguments),
    /// Create and upload cache artifacts (internal)
    CacheArchiver(cache_archiver::Arguments),
    /// Download and extract cache artifacts (internal)
    CacheExtractor(cache_extractor::Arguments),
}

#[derive(Debug, Args)]
struct RunSingle {
    /// Config file
    #[arg(short, long, env = "CONFIG_FILE")]
    config: Option<PathBuf>,
    /// Runner name from the config file to use instead of command-line arguments
    #[arg(short, long)]
    runner: Option<String>,
    /// How many builds to process before exiting; 0 is without limit
    #[arg(long, default_value_t = 0)]
    max_builds: u64,
    /// How long to wait in seconds for a job; 0 is without limit
    #[arg(long, default_value_t = 0)]
    wait_timeout: u64,
    #[command(flatten)]
    entry: Entry,
}

/// A runner without a file.
#[derive(Debug, Args)]
struct Entry {
    #[arg(short, long, env = "CI_SERVER_URL", default_value = "")]
    url: String,
    #[arg(short, long, env = "CI_SERVER_TOKEN", default_value = "")]
    token: String,
    #[arg(long, alias = "description", default_value = "")]
    name: String,
    #[arg(long, env = "RUNNER_EXECUTOR", default_value = "")]
    executor: String,
    #[arg(long, env = "RUNNER_SHELL", default_value = "")]
    shell: String,
    #[arg(long, env = "RUNNER_BUILDS_DIR", default_value = "")]
    builds_dir: String,
    #[arg(long, env = "RUNNER_CACHE_DIR", default_value = "")]
    cache_dir: String,
    #[arg(long = "env", env = "RUNNER_ENV")]
    environment: Vec<String>,
    #[arg(long, env = "CUSTOM_CONFIG_EXEC", default_value = "")]
    custom_config_exec: String,
    #[arg(long, allow_hyphen_values = true)]
    custom_config_args: Vec<String>,
    #[arg(long, env = "CUSTOM_PREPARE_EXEC", default_value = "")]
    custom_prepare_exec: String,
    #[arg(long, allow_hyphen_values = true)]
    custom_prepare_args: Vec<String>,
    #[arg(long, env = "CUSTOM_RUN_EXEC", default_value = "")]
    custom_run_exec: String,
    #[arg(long, allow_hyphen_values = true)]
    custom_run_args: Vec<String>,
    #[arg(long, env = "CUSTOM_CLEANUP_EXEC", default_value = "")]
    custom_cleanup_exec: String,
    #[arg(long, allow_hyphen_values = true)]
    custom_cleanup_args: Vec<String>,
}

/// Runs the command that was given. Exit code 0 also where a job failed.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    if cli.command.is_some() {
        announce();
    }
    match cli.command {
        _ if cli.version => print!("{}", version::extended()),
        Some(Command::RunSingle(arguments)) => run_single(*arguments),
        Some(Command::ArtifactsUploader(arguments)) => artifacts_uploader::run(arguments),
        Some(Command::ArtifactsDownloader(arguments)) => artifacts_downloader::run(&arguments),
        Some(Command::CacheArchiver(arguments)) => cache_archiver::run(arguments),
        Some(Command::CacheExtractor(arguments)) => return cache_extractor::run(&arguments),
        None => {
            runner_log::error("no command given; see --help");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The first line of every command but `--version`, also in job logs.
fn announce() {
    let fields: [(&str, &dyn std::fmt::Display); 5] = [
        ("arch", &version::architecture()),
        ("os", &std::env::consts::OS),
        ("pid", &std::process::id()),
        ("revision", &version::REVISION),
        ("version", &version::VERSION),
    ];
    runner_log::log(runner_log::Level::Info, "Runtime platform", &fields);
}

fn run_single(arguments: RunSingle) {
    let mut runner = match &arguments.runner {
        Some(name) => {
            let path = arguments.config.unwrap_or_else(|| fatal("Missing --config"));
            config::load(&path, name)
                .unwrap_or_else(|error| fatal(format!("Error loading runner by name: {}", chain(&error))))
        }
        None => arguments.entry.into_runner(),
    };
    runner.expand_environment();
    for (value, name) in [(&runner.url, "URL"), (&runner.token, "Token"), (&runner.executor, "Executor")] {
        if value.is_empty() {
            fatal(format!("Missing {name}"));
        }
    }
    let Some(kind) = Kind::of(&runner.executor) else {
        fatal(format!("Unknown executor: {} (the stand-in has custom and shell)", runner.executor));
    };
    if let Some(feature) = runner.unsupported() {
        fatal(format!("the gitlab-runner stand-in lacks {feature}"));
    }
    single::run(
        &runner,
        kind,
        &Limits { max_builds: arguments.max_builds, wait_timeout: arguments.wait_timeout },
    );
}

impl Entry {
    fn into_runner(self) -> Runner {
        let custom = Custom {
            config_exec: self.custom_config_exec,
            config_args: self.custom_config_args,
            prepare_exec: self.custom_prepare_exec,
            prepare_args: self.custom_prepare_args,
            run_exec: self.custom_run_exec,
            run_args: self.custom_run_args,
            cleanup_exec: self.custom_cleanup_exec,
            cleanup_args: self.custom_cleanup_args,
            ..Custom::default()
        };
        Runner {
            name: self.name,
            url: self.url,
            token: self.token,
            executor: self.executor,
            shell: self.shell,
            builds_dir: self.builds_dir,
            cache_dir: self.cache_dir,
            environment: self.environment,
            custom: Some(custom),
            system_id: config::fresh_system_id(),
            ..Runner::default()
        }
    }
}
