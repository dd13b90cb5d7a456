//! `[runner]`: gitlab-runner's own keys. All of them pass through, every string is a template.

use toml_edit::{Item, TableLike, Value};

use crate::reader::{Reader, Section};
use crate::template::{Template, Use};

/// `[runner]`, in the order of the file.
#[derive(Debug, Clone)]
pub struct RunnerTemplate {
    /// Keys and values.
    pub entries: Vec<(String, RunnerValue)>,
}

/// A value below `[runner]`.
#[derive(Debug, Clone)]
pub enum RunnerValue {
    /// A string.
    Template(Template),
    /// A number, a boolean or a date, as it stands.
    Plain(Value),
    /// A list.
    List(Vec<Self>),
    /// A table.
    Table(Vec<(String, Self)>),
    /// Tables with one name: `[[runner.docker.services]]`.
    Tables(Vec<Vec<(String, Self)>>),
}

impl RunnerTemplate {
    /// The value of a key at the top of `[runner]`.
    pub fn get(&self, key: &str) -> Option<&RunnerValue> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// What `meta-configure` writes itself.
const OURS: [&str; 4] = ["name", "url", "id", "token"];

pub(super) fn read(root: &Section<'_>) -> Option<RunnerTemplate> {
    let Some(section) = root.section("runner") else {
        if root.get("runner").is_none() {
            root.missing("[runner]", "write `[runner]` with `executor = \"custom\"` below it");
        }
        return None;
    };
    for key in OURS.into_iter().filter(|key| section.table().contains_key(key)) {
        let message = format!("`runner.{key}` is written for each instance by `meta-configure`");
        section.reader().problem(section.key_span(key), message, &format!("remove `{key}`"));
    }
    section.string("executor");
    if section.get("executor").is_none() {
        section.missing("executor", "write `executor = \"custom\"`");
    }
    Some(RunnerTemplate { entries: read_table(section.reader(), section.table(), "runner") })
}

fn read_table(reader: &Reader<'_>, table: &dyn TableLike, path: &str) -> Vec<(String, RunnerValue)> {
    let entry = |(key, item): (&str, &Item)| {
        let dotted = format!("{path}.{key}");
        let value = match item {
            Item::Value(value) => read_value(reader, value, &dotted, purpose(key))?,
            Item::Table(table) => RunnerValue::Table(read_table(reader, table, &dotted)),
            Item::ArrayOfTables(tables) => {
                RunnerValue::Tables(tables.iter().map(|table| read_table(reader, table, &dotted)).collect())
            }
            Item::None => return None,
        };
        Some((key.to_owned(), value))
    };
    table.iter().filter_map(entry).collect()
}

fn read_value(reader: &Reader<'_>, value: &Value, key: &str, purpose: Use) -> Option<RunnerValue> {
    Some(match value {
        Value::String(text) => {
            RunnerValue::Template(reader.template(text.value(), key, value.span(), purpose)?)
        }
        Value::Array(array) => RunnerValue::List(
            array.iter().filter_map(|value| read_value(reader, value, key, purpose)).collect(),
        ),
        Value::InlineTable(table) => RunnerValue::Table(read_table(reader, table, key)),
        Value::Integer(number) => RunnerValue::Plain((*number.value()).into()),
        Value::Float(number) => RunnerValue::Plain((*number.value()).into()),
        Value::Boolean(boolean) => RunnerValue::Plain((*boolean.value()).into()),
        Value::Datetime(date) => RunnerValue::Plain((*date.value()).into()),
    })
}

/// gitlab-runner names its paths by these endings.
fn purpose(key: &str) -> Use {
    let endings = ["_dir", "_exec", "_file", "-file", "_path"];
    if endings.iter().any(|ending| key.ends_with(ending)) { Use::Path } else { Use::Text }
}
