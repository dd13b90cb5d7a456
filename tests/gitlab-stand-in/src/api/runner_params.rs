//! The parameters that runners are made and changed with, and the model's own rules.

use serde_json::json;

use super::error::ApiError;
use super::params::Params;
use crate::model::Runner;

const MAX_TAGS: usize = 50;
const MAX_TAG_LENGTH: usize = 255;
const MAX_TEXT_LENGTH: usize = 1024;
const MIN_TIMEOUT: i64 = 600;

/// What a call says about a runner; `None` leaves the value as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct RunnerChange {
    description: Option<String>,
    maintenance_note: Option<String>,
    paused: Option<bool>,
    locked: Option<bool>,
    run_untagged: Option<bool>,
    tags: Option<Vec<String>>,
    protected_only: Option<bool>,
    /// `Some(None)` removes the limit.
    maximum_timeout: Option<Option<i64>>,
}

impl RunnerChange {
    /// Reads the parameters, or 400 for one with a wrong value.
    pub(super) fn read(params: &Params) -> Result<Self, ApiError> {
        if params.has("paused") && params.has("active") {
            return Err(ApiError::parameter("paused, active are mutually exclusive"));
        }
        let level = params.choice("access_level", &["not_protected", "ref_protected"])?;
        let active = params.boolean("active")?;
        let clears_timeout = params.has("maximum_timeout") && params.get("maximum_timeout").is_none();
        let timeout = params.integer("maximum_timeout")?;
        Ok(Self {
            description: params.text("description"),
            maintenance_note: params.text("maintenance_note").or_else(|| params.text("maintainer_note")),
            paused: params.boolean("paused")?.or(active.map(|active| !active)),
            locked: params.boolean("locked")?,
            run_untagged: params.boolean("run_untagged")?,
            tags: params.comma_list("tag_list"),
            protected_only: level.map(|level| level == "ref_protected"),
            maximum_timeout: if clears_timeout { Some(None) } else { timeout.map(Some) },
        })
    }

    /// Whether the call names none of the parameters.
    pub(super) fn is_empty(params: &Params) -> bool {
        let names = [
            "description",
            "maintenance_note",
            "maintainer_note",
            "paused",
            "active",
            "locked",
            "run_untagged",
            "tag_list",
            "access_level",
            "maximum_timeout",
        ];
        names.iter().all(|name| !params.has(name))
    }

    /// Makes the change, or says which rules of the model it breaks and changes nothing.
    pub(super) fn apply(self, runner: &mut Runner) -> Result<(), Vec<(&'static str, &'static str)>> {
        let mut changed = runner.clone();
        set(&mut changed.description, self.description);
        set(&mut changed.maintenance_note, self.maintenance_note);
        set(&mut changed.paused, self.paused);
        set(&mut changed.locked, self.locked);
        set(&mut changed.run_untagged, self.run_untagged);
        set(&mut changed.tags, self.tags);
        set(&mut changed.protected_only, self.protected_only);
        set(&mut changed.maximum_timeout, self.maximum_timeout);
        changed.tags.sort();
        changed.tags.dedup();
        let broken = broken_rules(&changed);
        if broken.is_empty() {
            *runner = changed;
            return Ok(());
        }
        Err(broken)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A model error of a PUT: `{"message": {"maximum_timeout": ["needs to be at least 10 minutes"]}}`.
pub(super) fn as_object(broken: &[(&'static str, &'static str)]) -> ApiError {
    let mut object = json!({});
    for (field, text) in broken {
        object[*field] = json!([text]);
    }
    ApiError::invalid(object)
}

/// A model error of a POST: the sentences joined.
pub(super) fn as_sentences(broken: &[(&'static str, &'static str)]) -> ApiError {
    let sentence = |(field, text): &(&str, &str)| {
        let mut name = field.replace('_', " ");
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        format!("{name} {text}")
    };
    ApiError::invalid(broken.iter().map(sentence).collect::<Vec<_>>().join(", "))
}

fn broken_rules(runner: &Runner) -> Vec<(&'static str, &'static str)> {
    let mut broken = Vec::new();
    if runner.tags.is_empty() && !runner.run_untagged {
        broken.push(("tags_list", "can not be empty when runner is not allowed to pick untagged jobs"));
    }
    if runner.tags.len() > MAX_TAGS {
        broken.push(("tags_list", "Too many tags specified. Please limit the number of tags to 50"));
    }
    if runner.tags.iter().any(|tag| tag.chars().count() > MAX_TAG_LENGTH) {
        broken.push(("tags", "is invalid"));
    }
    if runner.description.chars().count() > MAX_TEXT_LENGTH {
        broken.push(("description", "is too long (maximum is 1024 characters)"));
    }
    if runner.maintenance_note.chars().count() > MAX_TEXT_LENGTH {
        broken.push(("maintenance_note", "is too long (maximum is 1024 characters)"));
    }
    if runner.maximum_timeout.is_some_and(|timeout| timeout < MIN_TIMEOUT) {
        broken.push(("maximum_timeout", "needs to be at least 10 minutes"));
    }
    broken
}
