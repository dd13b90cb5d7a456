//! Many templates at once, with everything that is in the way.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use super::Template;
use crate::source::{Problem, Problems, SourceFile};
use crate::variables::Variables;

/// Templates cannot be expanded with the variables at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandError {
    /// What is in the way, at least one thing.
    pub faults: Vec<Fault>,
}

/// One thing that is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key.
    pub key: String,
    /// The instances that were expanded for.
    pub instances: Vec<String>,
    /// The place in the file.
    pub span: Option<Range<usize>>,
    /// Goes on where the key and the instances were named: `: ...` or ` has no ...`.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
    /// The variable that is not set, if that is the reason.
    pub missing: Option<String>,
}

impl Fault {
    /// As a problem of the file that the template was read from.
    pub fn problem(&self) -> Problem {
        Problem { span: self.span.clone(), message: self.to_string(), hint: Some(self.hint.clone()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.instances.iter().map(|name| format!("`{name}`")).collect();
        let owner = match &names[..] {
            [] => String::new(),
            [one] => format!(" of instance {one}"),
            _ => format!(" of instances {}", names.join(", ")),
        };
        write!(f, "`{}`{owner}{}", self.key, self.reason)
    }
}

impl ExpandError {
    /// The error as a report on the file that the templates were read from.
    pub fn report(self, source: &SourceFile) -> Problems {
        Problems::new(source.clone(), self.faults.iter().map(Fault::problem).collect())
    }
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&faults.join("; "))
    }
}

impl std::error::Error for ExpandError {}

/// Expands one template after the other and keeps what is in the way. Until [`Expansion::finish`] says that nothing was,
/// its values stand in for what could not be had.
pub(crate) struct Expansion<'v> {
    variables: &'v Variables,
    faults: RefCell<Vec<Fault>>,
}

impl<'v> Expansion<'v> {
    pub(crate) fn new(variables: &'v Variables) -> Self {
        Self { variables, faults: RefCell::default() }
    }

    pub(crate) fn text(&self, template: &Template) -> String {
        template.expand(self.variables).unwrap_or_else(|error| {
            self.faults.borrow_mut().extend(error.faults);
            String::new()
        })
    }

    pub(crate) fn optional(&self, template: &Option<Template>) -> Option<String> {
        template.as_ref().map(|template| self.text(template))
    }

    pub(crate) fn texts(&self, templates: &[Template]) -> Vec<String> {
        templates.iter().map(|template| self.text(template)).collect()
    }

    /// The value that the text stands for. `None` where it cannot be expanded, or stands for none: `read` then says why,
    /// going on behind the key, and what to do.
    pub(crate) fn value<T>(
        &self,
        template: &Template,
        read: impl FnOnce(&str) -> Result<T, (String, &'static str)>,
    ) -> Option<T> {
        let text = match template.expand(self.variables) {
            Ok(text) => text,
            Err(error) => {
                self.faults.borrow_mut().extend(error.faults);
                return None;
            }
        };
        let fault = |(reason, hint): (String, &str)| {
            self.faults.borrow_mut().push(template.fault(None, reason, hint.to_owned(), self.variables));
        };
        read(&text).map_err(fault).ok()
    }

    /// The value that was made with it, if nothing was in the way.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, ExpandError> {
        let faults = self.faults.into_inner();
        if faults.is_empty() { Ok(value) } else { Err(ExpandError { faults }) }
    }
}
