//! `[schedulers.NAME]`: a batch system as data. Commands to run, and patterns that read what they print.
//!
//! Slurm is such a table too, `slurm.toml` beside this file. Another system needs another table, and no code.

use std::collections::BTreeMap;
use std::fmt;

use regex_lite::Regex;
use toml_edit::Document;

use crate::reader::{Reader, Section};
use crate::template::{Template, Use};

/// The name of the one that is built in.
pub const SLURM: &str = "slurm";

/// How to speak to a batch system. Templates see the environment and, where it says so, variables of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Put in front of the launch's own arguments. `$MARK` and `$LAUNCH_ID` lead from a queue entry back to its launch.
    pub submit_args: Vec<Template>,
    /// Like `submit_args`, where the launch's own texts use `$LAUNCH_ID` already.
    pub submit_args_unmarked: Vec<Template>,
    /// Put in front of those for `$COUNT` equal launches at once; empty: there are no arrays.
    pub array_args: Vec<Template>,
    /// Finds a request for an array in an argument, or in a line of the script.
    pub array_requested: Option<Pattern>,
    /// Finds the batch id (group `id`) in the answer to a submission.
    pub submitted: Pattern,
    /// Lists this user's jobs. Words `NAME=VALUE` in front of the program are its environment, here and in the other commands.
    pub query: Vec<Template>,
    /// Finds each job in that list: groups `id`, `state`, and where there are any `reason`, `tasks`, `elapsed`, `mark`.
    pub entry: Pattern,
    /// Finds lines of that list that are no jobs.
    pub heading: Option<Pattern>,
    /// States of jobs that wait.
    pub waiting: Pattern,
    /// States of jobs that run. All others have ended.
    pub running: Pattern,
    /// Cancels the batch ids that are appended to it.
    pub cancel: Vec<Template>,
    /// How one task of an array is called there: `$ID`, `$TASK`. Without it arrays are cancelled as a whole.
    pub task: Option<Template>,
    /// Tells how jobs ended that are gone from the list: `$IDS`, parted by commas. May fail, and may be empty.
    pub history: Vec<Template>,
    /// Finds each job in the history: groups `id`, `state`.
    pub history_entry: Option<Pattern>,
    /// Finds refusals that nothing but another configuration can help.
    pub permanent: Vec<Pattern>,
}

/// A regular expression that compares by its text.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles `text`; `^` and `$` stand for the begin and end of a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, regex_lite::Error> {
        regex_lite::RegexBuilder::new(text).multi_line(true).build().map(Self)
    }

    /// To search with.
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    fn has_group(&self, name: &str) -> bool {
        self.0.capture_names().any(|group| group == Some(name))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_str().fmt(f)
    }
}

/// What the file says, and Slurm, unless the file has a table of that name. `None` for tables with problems.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Option<SchedulerConfig>> {
    let mut schedulers = BTreeMap::from([(SLURM.to_owned(), Some(slurm()))]);
    let Some(section) = root.section("schedulers") else { return schedulers };
    for (key, item) in section.table().iter() {
        let Some(table) = section.section_of(key, item) else { continue };
        schedulers.insert(key.to_owned(), read_scheduler(&table));
    }
    schedulers
}

/// The built-in description of Slurm.
fn slurm() -> SchedulerConfig {
    let text = include_str!("slurm.toml");
    let document = Document::parse(text).expect("a test reads the built-in description");
    let reader = Reader::new(text);
    read_scheduler(&reader.root(document.as_table())).expect("a test reads the built-in description")
}

fn read_scheduler(section: &Section<'_>) -> Option<SchedulerConfig> {
    let list = |key| section.templates(key, Use::Text).unwrap_or_default();
    let submit_args = list("submit_args");
    let scheduler = SchedulerConfig {
        submit_args_unmarked: section
            .templates("submit_args_unmarked", Use::Text)
            .unwrap_or_else(|| submit_args.clone()),
        submit_args,
        array_args: list("array_args"),
        array_requested: pattern(section, "array_requested", &[]),
        query: required_command(section, "query"),
        heading: pattern(section, "heading", &[]),
        cancel: required_command(section, "cancel"),
        task: section.template("task", Use::Text),
        history: list("history"),
        history_entry: pattern(section, "history_entry", &["id", "state"]),
        permanent: patterns(section, "permanent"),
        submitted: required(section, "submitted", &["id"], r"'Submitted batch job (?<id>\d+)'")?,
        entry: required(section, "entry", &["id", "state"], r"'^(?<id>\d+) (?<state>\S+)'")?,
        waiting: required(section, "waiting", &[], "'^Q$'")?,
        running: required(section, "running", &[], "'^R$'")?,
    };
    section.finish();
    Some(scheduler)
}

fn required_command(section: &Section<'_>, key: &'static str) -> Vec<Template> {
    let command = section.templates(key, Use::Text).unwrap_or_default();
    if command.is_empty() && section.get(key).is_none_or(|item| item.as_array().is_some()) {
        section.missing(key, &format!("write the program and its arguments: `{key} = [\"...\"]`"));
    }
    command
}

fn required(section: &Section<'_>, key: &'static str, groups: &[&str], example: &str) -> Option<Pattern> {
    if section.get(key).is_none() {
        section.missing(key, &format!("write a regular expression: `{key} = {example}`"));
    }
    pattern(section, key, groups)
}

fn pattern(section: &Section<'_>, key: &'static str, groups: &[&str]) -> Option<Pattern> {
    let (text, span) = section.string(key)?;
    let pattern = compile(section, key, &text, span.clone())?;
    if let Some(group) = groups.iter().find(|group| !pattern.has_group(group)) {
        let message = format!("`{}` has no group `{group}`", section.dotted(key));
        section.reader().problem(span, message, &format!("name what it finds: `(?<{group}>\\S+)`"));
        return None;
    }
    Some(pattern)
}

fn patterns(section: &Section<'_>, key: &'static str) -> Vec<Pattern> {
    let texts = section.strings(key).unwrap_or_default();
    texts.into_iter().filter_map(|(text, span)| compile(section, key, &text, span)).collect()
}

fn compile(
    section: &Section<'_>,
    key: &'static str,
    text: &str,
    span: Option<std::ops::Range<usize>>,
) -> Option<Pattern> {
    Pattern::new(text)
        .map_err(|error| {
            let message = format!("`{}` is not a regular expression: {error}", section.dotted(key));
            let hint = "write it in single quotes, where TOML leaves backslashes alone";
            section.reader().problem(span, message, hint);
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_description_is_whole() {
        let slurm = slurm();
        assert_eq!(slurm.query[1].text(), "squeue");
        assert!(slurm.waiting.regex().is_match("PENDING") && !slurm.running.regex().is_match("PENDING"));
        assert!(slurm.history_entry.is_some() && slurm.task.is_some() && !slurm.permanent.is_empty());
    }
}
