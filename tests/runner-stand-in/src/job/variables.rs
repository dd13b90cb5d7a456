//! Job variables: a list with repetitions, where later entries win, and its expansion.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Names the directory of file variables. Its value turns a reference to a file variable into a path.
pub(crate) const TEMP_PROJECT_DIR: &str = "RUNNER_TEMP_PROJECT_DIR";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Variable {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) public: bool,
    /// Made by the runner itself. Never on the wire.
    #[serde(skip)]
    pub(crate) internal: bool,
    pub(crate) file: bool,
    pub(crate) masked: bool,
    pub(crate) raw: bool,
}

impl Variable {
    /// A public variable made by the runner.
    pub(crate) fn internal(key: &str, value: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), public: true, internal: true, ..Self::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variables(pub(crate) Vec<Variable>);

impl Variables {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter()
    }

    /// Content of the last variable with this key, also for a file variable; empty if there is none.
    pub(crate) fn value(&self, key: &str) -> &str {
        self.last(key).map_or("", |variable| &variable.value)
    }

    /// As a script sees it: for a file variable its path, for all others the content.
    pub(crate) fn get(&self, key: &str) -> String {
        match self.last(key) {
            Some(variable) if variable.file => self.file_path(key),
            Some(variable) => variable.value.clone(),
            None => String::new(),
        }
    }

    fn file_path(&self, key: &str) -> String {
        Path::new(self.value(TEMP_PROJECT_DIR)).join(key).to_string_lossy().into_owned()
    }

    fn last(&self, key: &str) -> Option<&Variable> {
        self.0.iter().rev().find(|variable| variable.key == key)
    }

    /// Expands every variable that is not raw, once, against the unexpanded list.
    pub(crate) fn expanded(&self) -> Self {
        self.expanded_with(self)
    }

    pub(crate) fn expanded_with(&self, source: &Self) -> Self {
        let expand = |variable: &Variable| {
            let mut variable = variable.clone();
            if !variable.raw {
                variable.value = source.expand(&variable.value);
            }
            variable
        };
        Self(self.0.iter().map(expand).collect())
    }

    /// Replaces `$NAME` and `${NAME}` as Go's `os.Expand` does: what is unknown becomes empty, `$$` is a dollar,
    /// the shell's special parameters are empty, a dollar before anything else stays.
    pub(crate) fn expand(&self, text: &str) -> String {
        expand(text, |name| match name {
            "$" => name.to_owned(),
            "*" | "#" | "@" | "!" | "?" => String::new(),
            digit if digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit() => String::new(),
            _ => self.get(name),
        })
    }

    pub(crate) fn masked(&self) -> Vec<String> {
        self.0.iter().filter(|variable| variable.masked).map(|variable| variable.value.clone()).collect()
    }

    /// Replaces the first variable that has the key of the given one; without such, nothing happens.
    pub(crate) fn overwrite(&mut self, variable: Variable) {
        if let Some(place) = self.0.iter_mut().find(|known| known.key == variable.key) {
            *place = variable;
        }
    }
}

/// Go's `os.Expand`.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> String) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let (name, width) = shell_name(after);
        match (name, width) {
            ("", 0) => result.push('$'),
            ("", _) => {}
            _ => result.push_str(&lookup(name)),
        }
        rest = &after[width..];
    }
    result.push_str(rest);
    result
}

/// The name at the start of `text`, which follows a dollar, and how many bytes it takes. An empty name with a width
/// is bad syntax, to be dropped.
fn shell_name(text: &str) -> (&str, usize) {
    let bytes = text.as_bytes();
    match bytes.first() {
        None => ("", 0),
        Some(b'{') => match text.find('}') {
            None => ("", 1),
            Some(1) => ("", 2),
            Some(end) => (&text[1..end], end + 1),
        },
        Some(byte) if b"*#$@!?-".contains(byte) || byte.is_ascii_digit() => (&text[..1], 1),
        Some(_) => {
            let end = bytes
                .iter()
                .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
                .unwrap_or(bytes.len());
            (&text[..end], end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let plain =
            |key: &str, value: &str| Variable { key: key.into(), value: value.into(), ..Variable::default() };
        Variables(vec![
            plain("A", "first"),
            plain("A", "last"),
            plain("B", "$A-${A}"),
            Variable { raw: true, ..plain("R", "$A") },
            Variable { file: true, ..plain("F", "content") },
            plain(TEMP_PROJECT_DIR, "/b/p.tmp"),
        ])
    }

    #[test]
    fn later_entries_win_and_files_expand_to_their_path() {
        let variables = variables();
        assert_eq!(variables.value("A"), "last");
        assert_eq!(variables.value("F"), "content");
        assert_eq!(variables.get("F"), "/b/p.tmp/F");
        assert_eq!(variables.expanded().value("B"), "last-last");
        assert_eq!(variables.expanded().value("R"), "$A");
    }

    #[test]
    fn expansion_follows_go() {
        let variables = variables();
        for (text, expected) in [
            ("$$A", "$A"),
            ("${A}x", "lastx"),
            ("$UNKNOWN.", "."),
            ("a$", "a$"),
            ("$(date)", "$(date)"),
            ("${}x", "x"),
            ("${A", "A"),
            ("$1$?x", "x"),
            ("ü$A", "ülast"),
        ] {
            assert_eq!(variables.expand(text), expected, "{text}");
        }
    }
}
