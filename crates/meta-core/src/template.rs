//! Strings of the configuration in which variables are expanded.
//!
//! `subst` looks the variables up and puts the defaults in. Its own syntax leaves a shell script too little room (every
//! backslash and every `$(` would be an error), so `syntax` reads ours and writes it down in the one of `subst`.

mod expansion;
mod syntax;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::source::Problem;
use crate::variables::Variables;
pub(crate) use expansion::Expansion;
pub use expansion::{ExpandError, Fault};

/// What the expanded text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Any text.
    Text,
    /// A path: `~` in front is the home directory, and no job may steer it out of its directory.
    Path,
}

/// A string with variables, its syntax checked.
#[derive(Clone)]
pub struct Template {
    text: String,
    key: String,
    place: Place,
    purpose: Use,
    parsed: syntax::Parsed,
}

/// Where the text stands in its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Byte range of the whole value, quotes included.
    pub value: Option<Range<usize>>,
    /// Where the text begins, if it stands in the file exactly as it is (no escapes in the string).
    pub text_start: Option<usize>,
}

impl Place {
    /// The range of a piece of the text, or of the whole value where escapes hide it.
    fn piece(&self, range: &Range<usize>) -> Option<Range<usize>> {
        match self.text_start {
            Some(start) => Some(start + range.start..start + range.end),
            None => self.value.clone(),
        }
    }
}

impl Template {
    /// Checks the syntax. `key` is the dotted key, for messages.
    ///
    /// # Errors
    /// The first thing in the text that is neither a variable nor what a shell may keep.
    pub fn new(text: &str, key: &str, place: Place, purpose: Use) -> Result<Self, Problem> {
        let parsed = syntax::parse(text).map_err(|error| Problem {
            span: place.piece(&error.range),
            message: format!("`{key}`: {}", error.message),
            hint: Some(error.hint),
        })?;
        if purpose == Use::Path
            && text.starts_with('~')
            && !matches!(text.as_bytes().get(1), None | Some(b'/'))
        {
            return Err(Problem {
                span: place.piece(&(0..text.find('/').unwrap_or(text.len()))),
                message: format!("`{key}`: the home directory of another user is not looked up"),
                hint: Some("write the whole path, or `~/` for your own home directory".to_owned()),
            });
        }
        Ok(Self { text: text.to_owned(), key: key.to_owned(), place, purpose, parsed })
    }

    /// The text as the admin wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The dotted key, `launch.workdir`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where the value stands in its file.
    pub fn span(&self) -> Option<Range<usize>> {
        self.place.value.clone()
    }

    /// Whether a variable occurs in the text, in defaults too.
    pub fn uses(&self, variable: &str) -> bool {
        self.parsed.variables.iter().any(|found| found.name == variable)
    }

    /// Whether a variable occurs in a line of the text that `is_meant`.
    pub fn uses_in_line(&self, variable: &str, is_meant: impl Fn(&str) -> bool) -> bool {
        self.parsed.variables.iter().filter(|found| found.name == variable).any(|found| {
            let begin = self.text[..found.range.start].rfind('\n').map_or(0, |newline| newline + 1);
            is_meant(&self.text[begin..found.range.end])
        })
    }

    /// Puts the values in. They are not expanded again.
    ///
    /// # Errors
    /// Variables without value and default; in a path, a value of the job that contains `/` or is `..`.
    pub fn expand(&self, variables: &Variables) -> Result<String, ExpandError> {
        let mut known = Cow::Borrowed(variables);
        let mut faults = Vec::new();
        loop {
            let fault = match self.expand_or_fault(&known) {
                Ok(text) if faults.is_empty() => return Ok(text),
                Ok(_) => return Err(ExpandError { faults }),
                Err(fault) => fault,
            };
            // The next look finds the next variable.
            let missing = fault.missing.clone();
            faults.push(fault);
            match missing {
                Some(name) => known.to_mut().environment.insert(name, String::new()),
                None => return Err(ExpandError { faults }),
            };
        }
    }

    fn expand_or_fault(&self, variables: &Variables) -> Result<String, Fault> {
        let lookup = Lookup { variables, guard: self.purpose == Use::Path, refused: RefCell::default() };
        let expanded =
            self.parsed.template.expand(&lookup).map_err(|error| self.not_set(&error, variables))?;
        if let Some(name) = lookup.refused.into_inner().into_iter().next() {
            return Err(self.refused(&name, variables));
        }
        match expanded.strip_prefix('~') {
            Some(rest) if self.purpose == Use::Path && self.text.starts_with('~') => {
                let home = variables.get("HOME").ok_or_else(|| self.missing("HOME", &(0..1), variables))?;
                Ok(format!("{home}{rest}"))
            }
            _ => Ok(expanded),
        }
    }

    fn not_set(&self, error: &subst::error::ExpandError, variables: &Variables) -> Fault {
        let subst::error::ExpandError::NoSuchVariable(error) = error;
        let range = self.parsed.variables.iter().find(|found| found.position == error.position);
        let range = range.map_or(0..self.text.len(), |found| found.range.clone());
        self.missing(&error.name, &range, variables)
    }

    fn missing(&self, name: &str, range: &Range<usize>, variables: &Variables) -> Fault {
        let hint = format!(
            "write `$${name}` {}, `${{{name}:default}}` to have a default, \
             or set it in the environment or in `config_variables`",
            // No shell of ours reads what is below the other sections.
            if self.key.starts_with("launch.") {
                "to leave it to the shell of the batch job"
            } else {
                "for the text itself"
            }
        );
        let reason = format!(": `${name}` is not set");
        Fault { missing: Some(name.to_owned()), ..self.fault(Some(range), reason, hint, variables) }
    }

    fn refused(&self, name: &str, variables: &Variables) -> Fault {
        let range = self.parsed.variables.iter().find(|found| found.name == *name);
        let range = range.map_or(0..self.text.len(), |found| found.range.clone());
        let reason = format!(": the job's `${name}` would leave its directory");
        let hint = "use a value without `/` and `..` in paths, such as `$CUSTOM_ENV_CI_PROJECT_ID`";
        self.fault(Some(&range), reason, hint.to_owned(), variables)
    }

    /// What is wrong with a piece of the text, or with the value as a whole.
    fn fault(
        &self,
        range: Option<&Range<usize>>,
        reason: String,
        hint: String,
        variables: &Variables,
    ) -> Fault {
        Fault {
            key: self.key.clone(),
            instances: variables.instance().map(str::to_owned).into_iter().collect(),
            span: range.map_or_else(|| self.span(), |range| self.place.piece(range)),
            reason,
            hint,
            missing: None,
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.key, self.purpose) == (&other.text, &other.key, other.purpose)
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// What `subst` asks. On the node `CUSTOM_ENV_*` are values that a job's author can choose.
struct Lookup<'v> {
    variables: &'v Variables,
    guard: bool,
    refused: RefCell<BTreeSet<String>>,
}

impl<'a> subst::VariableMap<'a> for Lookup<'_> {
    type Value = &'a str;

    fn get(&'a self, name: &str) -> Option<&'a str> {
        let value = self.variables.get(name)?;
        if self.guard && name.starts_with("CUSTOM_ENV_") && (value.contains('/') || value.contains("..")) {
            self.refused.borrow_mut().insert(name.to_owned());
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests;
