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

/// How to speak to a batch system. Templates see the variables of the instance whose launches they are about and, where it
/// says so, variables of their own.
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
    /// Finds an argument that takes the place of the mark in `submit_args`.
    pub mark_replaced: Option<Pattern>,
    /// Finds an argument, or a line of the script, that sends a launch where only a `query` with the same option looks.
    pub sent_elsewhere: Option<Pattern>,
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

/// What the file says, and Slurm: a table of that name has what it says, and the rest from the built-in one. `None` for
/// tables with problems.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Option<SchedulerConfig>> {
    let slurm = slurm();
    let mut schedulers = BTreeMap::from([(SLURM.to_owned(), Some(slurm.clone()))]);
    let Some(section) = root.section("schedulers") else { return schedulers };
    for (key, item) in section.table().iter() {
        let Some(table) = section.section_of(key, item) else { continue };
        let base = (key == SLURM).then_some(&slurm);
        schedulers.insert(key.to_owned(), Table { section: &table, base }.read());
    }
    schedulers
}

/// The built-in description of Slurm.
fn slurm() -> SchedulerConfig {
    let text = include_str!("slurm.toml");
    let document = Document::parse(text).expect("a test reads the built-in description");
    let reader = Reader::new(text);
    let table = Table { section: &reader.root(document.as_table()), base: None };
    table.read().expect("a test reads the built-in description")
}

/// `NAME=VALUE`, as it stands before a program.
pub fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, value))
}

/// One table of the file.
struct Table<'s, 'a> {
    section: &'s Section<'a>,
    /// What is taken where it says nothing.
    base: Option<&'s SchedulerConfig>,
}

type Templates = fn(&SchedulerConfig) -> &Vec<Template>;

impl Table<'_, '_> {
    fn read(&self) -> Option<SchedulerConfig> {
        let section = self.section;
        let submit_args = self.list("submit_args", |base| &base.submit_args);
        let unmarked = section.templates("submit_args_unmarked", Use::Text);
        let scheduler = SchedulerConfig {
            submit_args_unmarked: unmarked
                .or_else(|| self.base.map(|base| base.submit_args_unmarked.clone()))
                .unwrap_or_else(|| submit_args.clone()),
            submit_args,
            array_args: self.list("array_args", |base| &base.array_args),
            array_requested: self.optional("array_requested", &[], |base| &base.array_requested),
            mark_replaced: self.optional("mark_replaced", &[], |base| &base.mark_replaced),
            sent_elsewhere: self.optional("sent_elsewhere", &[], |base| &base.sent_elsewhere),
            query: self.command("query", |base| &base.query),
            heading: self.optional("heading", &[], |base| &base.heading),
            cancel: self.command("cancel", |base| &base.cancel),
            task: section
                .template("task", Use::Text)
                .or_else(|| self.base.and_then(|base| base.task.clone())),
            history: self.list("history", |base| &base.history),
            history_entry: self.optional("history_entry", &["id", "state"], |base| &base.history_entry),
            permanent: patterns(section, "permanent")
                .or_else(|| self.base.map(|base| base.permanent.clone()))
                .unwrap_or_default(),
            submitted: self.required("submitted", &["id"], r"'Submitted batch job (?<id>\d+)'", |base| {
                &base.submitted
            })?,
            entry: self
                .required("entry", &["id", "state"], r"'^(?<id>\d+) (?<state>\S+)'", |base| &base.entry)?,
            waiting: self.required("waiting", &[], "'^Q$'", |base| &base.waiting)?,
            running: self.required("running", &[], "'^R$'", |base| &base.running)?,
        };
        section.finish();
        Some(scheduler)
    }

    fn list(&self, key: &'static str, of: Templates) -> Vec<Template> {
        let own = self.section.templates(key, Use::Text);
        own.or_else(|| self.base.map(|base| of(base).clone())).unwrap_or_default()
    }

    /// One that has to name a program.
    fn command(&self, key: &'static str, of: Templates) -> Vec<Template> {
        let command = self.list(key, of);
        let is_list = self.section.get(key).is_none_or(|item| item.as_array().is_some());
        if is_list && command.iter().all(|word| assignment(word.text()).is_some()) {
            let hint = format!("write the program and its arguments: `{key} = [\"...\"]`");
            self.section.missing(key, &hint);
        }
        command
    }

    fn optional(
        &self,
        key: &'static str,
        groups: &[&str],
        of: fn(&SchedulerConfig) -> &Option<Pattern>,
    ) -> Option<Pattern> {
        pattern(self.section, key, groups).or_else(|| self.base.and_then(|base| of(base).clone()))
    }

    fn required(
        &self,
        key: &'static str,
        groups: &[&str],
        example: &str,
        of: fn(&SchedulerConfig) -> &Pattern,
    ) -> Option<Pattern> {
        if self.section.get(key).is_some() {
            return pattern(self.section, key, groups);
        }
        if self.base.is_none() {
            self.section.missing(key, &format!("write a regular expression: `{key} = {example}`"));
        }
        self.base.map(|base| of(base).clone())
    }
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

fn patterns(section: &Section<'_>, key: &'static str) -> Option<Vec<Pattern>> {
    let texts = section.strings(key)?.into_iter();
    Some(texts.filter_map(|(text, span)| compile(section, key, &text, span)).collect())
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

    #[test]
    fn a_table_of_slurm_has_the_rest_from_the_built_in_one() {
        let text = "[schedulers.slurm]\nquery = [\"squeue\", \"--clusters=$CLUSTER\"]\npermanent = []\n";
        let document = Document::parse(text).unwrap();
        let reader = Reader::new(text);
        let read = read(&reader.root(document.as_table())).remove(SLURM).flatten().unwrap();
        let problems = reader.into_problems();
        assert_eq!(problems.len(), 0, "{problems:?}");
        let expected = SchedulerConfig { query: read.query.clone(), permanent: Vec::new(), ..slurm() };
        assert_eq!((read.query[1].text(), &read), ("--clusters=$CLUSTER", &expected));
    }
}
