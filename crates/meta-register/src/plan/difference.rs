//! The fields in which a runner is not as it should be.

use std::fmt;

use meta_gitlab::runners::{NewRunner, Owner, Runner, RunnerChange};

/// One field of an update, old and new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldChange {
    pub(crate) field: &'static str,
    pub(crate) old: FieldValue,
    pub(crate) new: FieldValue,
}

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Text(String),
    Tags(Vec<String>),
    Flag(bool),
    /// None: no limit.
    Seconds(Option<u64>),
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.field, self.old, self.new)
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Tags(tags) => write!(f, "[{}]", tags.join(", ")),
            Self::Flag(flag) => flag.fmt(f),
            Self::Seconds(Some(seconds)) => seconds.fmt(f),
            Self::Seconds(None) => f.write_str("none"),
        }
    }
}

/// The change to send and the same for people; None if the runner is as it should be.
pub(super) fn difference(desired: &NewRunner, runner: &Runner) -> Option<(RunnerChange, Vec<FieldChange>)> {
    let mut fields = Vec::new();
    let mut compare = |field, old: FieldValue, new: FieldValue| {
        let differs = old != new;
        if differs {
            fields.push(FieldChange { field, old, new });
        }
        differs
    };
    let mut change = RunnerChange::default();
    let text = |text: &String| FieldValue::Text(text.clone());
    if compare("description", text(&runner.description), text(&desired.description)) {
        change.description = Some(desired.description.clone());
    }
    let mut tags = desired.tags.clone();
    tags.sort();
    if compare("tags", FieldValue::Tags(runner.tags.clone()), FieldValue::Tags(tags.clone())) {
        change.tags = Some(tags);
    }
    let mut flag =
        |field, old, new| compare(field, FieldValue::Flag(old), FieldValue::Flag(new)).then_some(new);
    change.run_untagged = flag("run_untagged", runner.run_untagged, desired.run_untagged);
    change.protected = flag("protected", runner.protected, desired.protected);
    // GitLab knows no locked group runners.
    if matches!(desired.owner, Owner::Project(_)) {
        change.locked = flag("locked", runner.locked, desired.locked);
    }
    let timeout = |seconds| FieldValue::Seconds(seconds);
    if compare("maximum_timeout", timeout(runner.maximum_timeout_s), timeout(desired.maximum_timeout_s)) {
        change.maximum_timeout_s = Some(desired.maximum_timeout_s);
    }
    (!fields.is_empty()).then_some((change, fields))
}
