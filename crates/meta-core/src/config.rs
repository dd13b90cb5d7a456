//! The configuration file as meant: every value has its type, every template its syntax checked, nothing is expanded.

pub mod executor;
pub mod instances;
pub mod launch;
pub mod runner;
pub mod schedulers;

mod server;
pub mod service;

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::Document;

use crate::config::executor::ExecutorConfig;
use crate::config::instances::InstanceConfig;
use crate::config::launch::LaunchConfig;
use crate::config::runner::RunnerTemplate;
use crate::config::schedulers::SchedulerConfig;
use crate::name::{InstanceName, MetaRunnerName};
use crate::reader::{Reader, Section};
use crate::secret::Secret;
use crate::source::{Problem, Problems, SourceFile};
use crate::template::Template;

/// One configuration file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The text, for reports on its templates.
    pub source: SourceFile,
    /// The meta-runner's name, part of its files' names.
    pub name: MetaRunnerName,
    /// `https://host`, without a slash at the end.
    pub url: String,
    /// Whose jobs are run.
    pub scope: Scope,
    /// The token in the file itself.
    pub management_token: Option<Secret>,
    /// Where the token is.
    pub management_token_file: Option<Template>,
    /// PEM file with the certificates to trust.
    pub ca_file: Option<Template>,
    /// `[runners.I]`.
    pub instances: BTreeMap<InstanceName, InstanceConfig>,
    /// `[poll]`.
    pub poll: Poll,
    /// `[launch]`.
    pub launch: Option<LaunchConfig>,
    /// `[schedulers.NAME]`, and Slurm.
    pub schedulers: BTreeMap<String, SchedulerConfig>,
    /// `[executor]`.
    pub executor: Option<ExecutorConfig>,
    /// `[runner]`.
    pub runner: RunnerTemplate,
}

/// Where runners are registered and whose jobs are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Paths of projects, sorted, at least one.
    Projects(Vec<String>),
    /// The path of a group.
    Group(String),
}

/// `[poll]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Seconds between two ticks.
    pub interval_s: u64,
    /// Whether instances with waiting jobs are kept online without taking a job.
    pub keep_alive: bool,
    /// Where the launcher writes its figures for Prometheus.
    pub metrics_file: Option<Template>,
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it; a TOML syntax error alone, since nothing behind it can be read.
pub fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
    let text = plain_lines(text);
    let source = SourceFile { path: path.to_owned(), text: text.clone() };
    let document = match Document::parse(text.as_str()) {
        Ok(document) => document,
        Err(error) => return Err(Problems::new(source, vec![syntax_problem(&error)])),
    };
    let reader = Reader::new(&text);
    let config = read(&reader.root(document.as_table()), &source);
    let problems = reader.into_problems();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(source, problems)),
    }
}

/// The text as an editor of this system would have written it. Others put a byte order mark in front and `\r` at the end of
/// each line; a batch script whose first line ends in one is for no interpreter.
fn plain_lines(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n")
}

pub(crate) fn syntax_problem(error: &toml_edit::TomlError) -> Problem {
    let reason = error.message();
    let hint = if reason.contains("duplicate key") {
        "write each key and each table once; move what belongs together into one table"
    } else if reason.contains("escape") {
        "write `\\\\` for a backslash, or put the text in single quotes, where nothing is escaped"
    } else {
        "write one `key = value` per line, text in quotes: `key = \"text\"`"
    };
    let message = format!("not TOML: {}", reason.replace('\n', ", "));
    Problem { span: error.span(), message, hint: Some(hint.to_owned()) }
}

/// Every part is read before any is missed, so that all problems are found.
fn read(root: &Section<'_>, source: &SourceFile) -> Option<Config> {
    let name = read_name(root);
    let url = server::read_url(root);
    let scope = server::read_scope(root);
    let token = server::read_token(root);
    let ca_file = root.template("ca_file", crate::template::Use::Path);
    let instances = instances::read(root, scope.as_ref());
    let poll = root.section("poll").map_or_else(Poll::default, read_poll);
    let schedulers = schedulers::read(root);
    let launch = root.section("launch").map(|section| launch::read(section, &schedulers));
    let executor = root.section("executor").map(executor::read);
    let runner = runner::read(root);
    root.finish();
    Some(Config {
        source: source.clone(),
        name: name?,
        url: url?,
        scope: scope?,
        management_token: token.inline,
        management_token_file: token.file,
        ca_file,
        instances,
        poll,
        launch: match launch {
            Some(launch) => Some(launch?),
            None => None,
        },
        schedulers: schedulers.into_iter().filter_map(|(name, read)| Some((name, read?))).collect(),
        executor,
        runner: runner?,
    })
}

fn read_name(root: &Section<'_>) -> Option<MetaRunnerName> {
    let Some((text, span)) = root.string("name") else {
        if root.get("name").is_none() {
            root.missing("name", "write `name = \"...\"` at the top: the name of this meta-runner");
        }
        return None;
    };
    text.parse::<MetaRunnerName>()
        .map_err(|error| root.reader().problem(span, error.to_string(), error.hint()))
        .ok()
}

impl Default for Poll {
    fn default() -> Self {
        Self { interval_s: 30, keep_alive: true, metrics_file: None }
    }
}

fn read_poll(section: Section<'_>) -> Poll {
    let default = Poll::default();
    let interval_s = section.seconds("interval", 1).unwrap_or(default.interval_s);
    let keep_alive = section.bool("keep_alive").unwrap_or(default.keep_alive);
    let metrics_file = section.template("metrics_file", crate::template::Use::Path);
    section.finish();
    Poll { interval_s, keep_alive, metrics_file }
}

#[cfg(test)]
mod tests;
