//! `[runners.I]`: what is registered, and which jobs it takes.

use std::collections::BTreeMap;

use crate::config::Scope;
use crate::name::InstanceName;
use crate::reader::Section;

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceConfig {
    /// Sorted, each once. Empty only where `run_untagged` is set.
    pub tags: Vec<String>,
    /// The higher one is launched first.
    pub launch_priority: i64,
    /// Whether jobs without tags are taken.
    pub run_untagged: bool,
    /// Whether only jobs of protected refs are taken.
    pub protected: bool,
    /// Whether a project's runner is locked to that project; None where the configuration does not say.
    pub locked: Option<bool>,
    /// Seconds; GitLab takes no less than 600.
    pub maximum_timeout_s: Option<u64>,
    /// What GitLab shows, without our mark.
    pub description: Option<String>,
    /// How many launches may exist at a time.
    pub max_launches: Option<u32>,
    /// Variables for the templates, taken as written.
    pub config_variables: BTreeMap<String, String>,
}

/// The shortest job timeout that GitLab accepts for a runner, in seconds (Runners API, `maximum_timeout`).
const LEAST_TIMEOUT_S: i64 = 600;

/// Tags that GitLab accepts for a runner (`app/models/ci/runner.rb`).
const MOST_TAGS: usize = 50;

pub(super) fn read(root: &Section<'_>, scope: Option<&Scope>) -> BTreeMap<InstanceName, InstanceConfig> {
    let mut instances = BTreeMap::new();
    if let Some(list @ toml_edit::Item::ArrayOfTables(_)) = root.get("runners") {
        let message = "`runners` is a list of tables, and must be a table of instances".to_owned();
        root.reader().problem(list.span(), message, "write `[runners.NAME]`, once for each instance");
        return instances;
    }
    let Some(runners) = root.section("runners") else {
        if root.get("runners").is_none() {
            root.missing(
                "[runners.NAME]",
                "write `[runners.NAME]` with `tags = [\"...\"]` below it, once for each instance",
            );
        }
        return instances;
    };
    for (key, item) in runners.table().iter() {
        let Some(section) = runners.section_of(key, item) else { continue };
        let instance = read_instance(section, scope);
        match key.parse::<InstanceName>() {
            Ok(name) => {
                instances.insert(name, instance);
            }
            Err(error) => runners.reader().problem(runners.key_span(key), error.to_string(), error.hint()),
        }
    }
    instances
}

fn read_instance(section: Section<'_>, scope: Option<&Scope>) -> InstanceConfig {
    let run_untagged = section.bool("run_untagged").unwrap_or(false);
    let instance = InstanceConfig {
        tags: read_tags(&section, run_untagged),
        launch_priority: section.integer("launch_priority", i64::MIN, "").unwrap_or(0),
        run_untagged,
        protected: section.bool("protected").unwrap_or(false),
        locked: read_locked(&section, scope),
        maximum_timeout_s: section.seconds("maximum_timeout", LEAST_TIMEOUT_S),
        description: section.string("description").map(|(text, _)| text),
        max_launches: section.count("max_launches"),
        config_variables: section.section("config_variables").map(read_config_variables).unwrap_or_default(),
    };
    section.finish();
    instance
}

/// GitLab gives a locked runner to no further project, and has no locked runners of groups.
fn read_locked(section: &Section<'_>, scope: Option<&Scope>) -> Option<bool> {
    let locked = section.bool("locked")?;
    let reason = match scope {
        Some(Scope::Projects(paths)) if paths.len() > 1 => "a locked runner serves one project only",
        Some(Scope::Group(_)) => "a group's runner cannot be locked",
        _ => return Some(locked),
    };
    if locked {
        let span = section.get("locked").and_then(toml_edit::Item::span);
        let message = format!("`{}` is true, but {reason}", section.dotted("locked"));
        section.reader().problem(span, message, "remove `locked`");
    }
    Some(locked)
}

fn read_tags(section: &Section<'_>, run_untagged: bool) -> Vec<String> {
    const HINT: &str =
        "write at least one: `tags = [\"...\"]`, or `run_untagged = true` to take jobs without tags";
    let Some(tags) = section.strings("tags") else {
        if section.get("tags").is_none() && !run_untagged {
            section.missing("tags", HINT);
        }
        return Vec::new();
    };
    // GitLab takes a tag list as text, too, and splits it at commas.
    for (tag, span) in tags.iter().filter(|(tag, _)| tag.trim() != tag || tag.is_empty() || tag.contains(','))
    {
        let message = format!("{tag:?} is not a tag");
        let hint = "write one tag per string, without commas and without spaces around it";
        section.reader().problem(span.clone(), message, hint);
    }
    if let Some((_, span)) = tags.get(MOST_TAGS) {
        let message =
            format!("`{}` has {} tags, and GitLab takes {MOST_TAGS}", section.dotted("tags"), tags.len());
        section.reader().problem(span.clone(), message, "split the instance in two");
    }
    if tags.is_empty() && !run_untagged {
        let span = section.get("tags").and_then(toml_edit::Item::span);
        section.reader().problem(span, format!("`{}` is empty", section.dotted("tags")), HINT);
    }
    let mut tags: Vec<String> = tags.into_iter().map(|(tag, _)| tag).collect();
    tags.sort();
    tags.dedup();
    tags
}

/// A table of strings whose keys are names of variables.
pub(crate) fn read_config_variables(section: Section<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (key, item) in section.table().iter() {
        let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !key.chars().all(rest) || !key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let message = format!("`{key}` is not the name of a variable");
            let hint = "write letters, digits and `_`, without a digit in front";
            section.reader().problem(section.key_span(key), message, hint);
        }
        if let Some(text) = section.string_of(key, item) {
            variables.insert(key.to_owned(), text);
        }
    }
    variables
}
