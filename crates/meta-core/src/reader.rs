//! The typed reader over the spanned TOML document: it collects every problem instead of stopping at the first.

use std::cell::RefCell;
use std::ops::Range;

use toml_edit::{Item, TableLike, Value};

use crate::source::Problem;
use crate::template::{Place, Template, Use};

/// The most that a number of seconds may be.
pub(crate) const YEAR_S: u64 = 365 * 24 * 3600;

/// Where all problems of one file go.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

/// One table of the file. Every key that is asked for is known; [`Section::finish`] reports the rest.
pub(crate) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: &'a dyn TableLike,
    /// Dotted; empty at the root.
    path: String,
    span: Option<Range<usize>>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    pub(crate) fn root(&'a self, table: &'a dyn TableLike) -> Section<'a> {
        self.section(table, String::new(), None)
    }

    pub(crate) fn section(
        &'a self,
        table: &'a dyn TableLike,
        path: String,
        span: Option<Range<usize>>,
    ) -> Section<'a> {
        Section { reader: self, table, path, span, known: RefCell::default() }
    }

    pub(crate) fn problem(&self, span: Option<Range<usize>>, message: String, hint: &str) {
        self.push(Problem { span, message, hint: Some(hint.to_owned()) });
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Where a string's text stands: behind the quotes, if nothing in it is escaped.
    pub(crate) fn place(&self, span: Option<Range<usize>>, text: &str) -> Place {
        let text_start = span.clone().and_then(|span| {
            let raw = self.text.get(span.clone())?;
            let quotes = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
            let inner = raw.get(quotes..raw.len().checked_sub(quotes)?)?;
            // A line break right behind the opening quotes is not part of the text.
            let skipped = match inner {
                _ if quotes == 1 => 0,
                _ if inner.starts_with("\r\n") => 2,
                _ => usize::from(inner.starts_with('\n')),
            };
            (inner[skipped..] == *text).then_some(span.start + quotes + skipped)
        });
        Place { value: span, text_start }
    }

    /// A string as template; `None` where its syntax is wrong.
    pub(crate) fn template(
        &self,
        text: &str,
        key: &str,
        span: Option<Range<usize>>,
        purpose: Use,
    ) -> Option<Template> {
        Template::new(text, key, self.place(span, text), purpose).map_err(|problem| self.push(problem)).ok()
    }
}

impl<'a> Section<'a> {
    pub(crate) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// The table's header.
    pub(crate) fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// The dotted key of something in this table.
    pub(crate) fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// `in [launch]`, or nothing at the root.
    fn place_name(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(" in `[{}]`", self.path) }
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<&'a Item> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    pub(crate) fn table(&self) -> &'a dyn TableLike {
        self.table
    }

    /// A table below this one.
    pub(crate) fn section(&self, key: &'static str) -> Option<Self> {
        let item = self.get(key)?;
        self.section_of(key, item)
    }

    /// An item as table; a problem if it is something else.
    pub(crate) fn section_of(&self, key: &str, item: &'a Item) -> Option<Self> {
        let path = self.dotted(key);
        let Some(table) = item.as_table_like() else {
            self.wrong_type(
                key,
                item,
                "a table",
                &format!("write `[{path}]` on a line of its own, and its keys below"),
            );
            return None;
        };
        let span = item.span().or_else(|| self.key_span(key));
        Some(self.reader.section(table, path, span))
    }

    /// The tables of an array of tables, written in either of TOML's ways.
    pub(crate) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(item) = self.get(key) else { return Vec::new() };
        let path = self.dotted(key);
        if let Some(tables) = item.as_array_of_tables() {
            let section =
                |table: &'a toml_edit::Table| self.reader.section(table, path.clone(), table.span());
            return tables.iter().map(section).collect();
        }
        let inline = item.as_array().map(|array| {
            array
                .iter()
                .map(|value| {
                    let table = value.as_inline_table()?;
                    Some(self.reader.section(table, path.clone(), value.span()))
                })
                .collect::<Option<Vec<_>>>()
        });
        inline.flatten().unwrap_or_else(|| {
            let hint = format!("write `[[{path}]]` on a line of its own, and the keys of one of them below");
            let message = format!("`{path}` must be a list of tables");
            self.reader.problem(item.span(), message, &hint);
            Vec::new()
        })
    }

    pub(crate) fn string(&self, key: &'static str) -> Option<(String, Option<Range<usize>>)> {
        let item = self.get(key)?;
        self.string_of(key, item).map(|text| (text, item.span()))
    }

    pub(crate) fn bool(&self, key: &'static str) -> Option<bool> {
        let item = self.get(key)?;
        let value = item.as_bool();
        if value.is_none() {
            self.wrong_type(
                key,
                item,
                "a boolean",
                &format!("write `{key} = true` or `{key} = false`, without quotes"),
            );
        }
        value
    }

    /// An integer of at least `least`. `unit` is for messages: ` seconds`.
    pub(crate) fn integer(&self, key: &'static str, least: i64, unit: &str) -> Option<i64> {
        let item = self.get(key)?;
        let Some(value) = item.as_integer() else {
            // Quotes around a good number are the usual reason.
            let quoted =
                item.as_str().and_then(|text| text.parse::<i64>().ok()).filter(|value| *value >= least);
            let example = quoted.unwrap_or(least.max(1));
            let of_unit = if unit.is_empty() { String::new() } else { format!(" of{unit}") };
            let hint = format!("write a whole number{of_unit} without quotes: `{key} = {example}`");
            self.wrong_type(key, item, "an integer", &hint);
            return None;
        };
        if value < least {
            let path = self.dotted(key);
            let message = format!("`{path}` is {value}, and must be at least {least}{unit}");
            self.reader.problem(item.span(), message, &format!("write `{key} = {least}` or more"));
            return None;
        }
        Some(value)
    }

    /// A size or a count, at least 1.
    pub(crate) fn positive(&self, key: &'static str, unit: &str) -> Option<u64> {
        self.integer(key, 1, unit).and_then(|value| u64::try_from(value).ok())
    }

    /// A number of seconds, of at least `least` and at most a year: the clock has to bear it.
    pub(crate) fn seconds(&self, key: &'static str, least: i64) -> Option<u64> {
        let value = self.integer(key, least, " seconds").and_then(|value| u64::try_from(value).ok())?;
        if value > YEAR_S {
            let message = format!("`{}` is {value}, and must be at most {YEAR_S} seconds", self.dotted(key));
            let hint = format!("write `{key} = {YEAR_S}`, which is a year, or less");
            self.reader.problem(self.table.get(key).and_then(Item::span), message, &hint);
            return None;
        }
        Some(value)
    }

    /// A count of things, at least 1.
    pub(crate) fn count(&self, key: &'static str) -> Option<u32> {
        let value = self.positive(key, "")?;
        u32::try_from(value).ok().or_else(|| {
            let message = format!("`{}` is {value}, and must be less than 2^32", self.dotted(key));
            self.reader.problem(self.table.get(key).and_then(Item::span), message, "write a smaller number");
            None
        })
    }

    /// The string behind a key that only this file knows.
    pub(crate) fn string_of(&self, key: &str, item: &Item) -> Option<String> {
        let text = item.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(key, item, "a string", &format!("write `{key} = \"...\"`"));
        }
        text
    }

    /// One template, or a list of them.
    pub(crate) fn one_or_more_templates(&self, key: &'static str) -> Option<Vec<Template>> {
        match self.get(key) {
            Some(item) if item.is_str() => Some(self.template(key, Use::Text).into_iter().collect()),
            _ => self.templates(key, Use::Text),
        }
    }

    pub(crate) fn template(&self, key: &'static str, purpose: Use) -> Option<Template> {
        let (text, span) = self.string(key)?;
        self.reader.template(&text, &self.dotted(key), span, purpose)
    }

    /// A list of strings, each with its place.
    pub(crate) fn strings(&self, key: &'static str) -> Option<Vec<(String, Option<Range<usize>>)>> {
        let item = self.get(key)?;
        let hint = format!("write a list of strings: `{key} = [\"...\", \"...\"]`");
        let Some(array) = item.as_array() else {
            self.wrong_type(key, item, "a list of strings", &hint);
            return None;
        };
        let mut strings = Vec::new();
        for value in array {
            match value.as_str() {
                Some(text) => strings.push((text.to_owned(), value.span())),
                None => {
                    let message =
                        format!("`{}` has {} in its list of strings", self.dotted(key), kind(value));
                    self.reader.problem(value.span(), message, &hint);
                }
            }
        }
        Some(strings)
    }

    pub(crate) fn templates(&self, key: &'static str, purpose: Use) -> Option<Vec<Template>> {
        let strings = self.strings(key)?;
        let path = self.dotted(key);
        Some(
            strings
                .into_iter()
                .filter_map(|(text, span)| self.reader.template(&text, &path, span, purpose))
                .collect(),
        )
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let (text, span) = self.string(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let names: Vec<String> = words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
            let message = format!("`{}` has no value `{text}`", self.dotted(key));
            self.reader.problem(span, message, &format!("write one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    pub(crate) fn missing(&self, key: &str, hint: &str) {
        let message = format!("`{key}` is missing{}", self.place_name());
        self.reader.problem(self.span(), message, hint);
    }

    fn wrong_type(&self, key: &str, item: &Item, wanted: &str, hint: &str) {
        let found = match item {
            Item::ArrayOfTables(_) => "a list of tables",
            item => item.as_value().map_or("a table", kind),
        };
        let message = format!("`{}` is {found}, and must be {wanted}", self.dotted(key));
        self.reader.problem(item.span().or_else(|| self.key_span(key)), message, hint);
    }

    pub(crate) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.key(key).and_then(|key| key.span())
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !known.contains(key)) {
            let likely = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
            let hint = match likely {
                Some(likely) if strsim::jaro_winkler(likely, key) > 0.8 => {
                    format!("did you mean `{likely}`?")
                }
                _ => format!(
                    "known here: {}",
                    known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            self.reader.problem(
                self.key_span(key),
                format!("unknown key `{key}`{}", self.place_name()),
                &hint,
            );
        }
    }
}

/// A value's type, with its article.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}
