//! Names that become parts of file names, paths and marks in GitLab.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of an instance: the `I` of `[runners.I]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName(String);

/// The name of a meta-runner: the key `name`, and the first part of the names of its files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetaRunnerName(String);

/// A name is not usable in file names and marks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not a name")]
pub struct NameError {
    name: String,
}

impl NameError {
    /// What a name may look like, as a hint for people.
    pub fn hint(&self) -> &'static str {
        "write letters, digits, `.`, `_` and `-` only, with a letter, a digit or `_` in front, as in `gpu-node.2`"
    }
}

impl InstanceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MetaRunnerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map(Self)
    }
}

impl FromStr for MetaRunnerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map(Self)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MetaRunnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A leading `.` would hide our files, a leading `-` would turn the name into a flag in a command line.
fn check(text: &str) -> Result<String, NameError> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.chars().all(inner) && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        Ok(text.to_owned())
    } else {
        Err(NameError { name: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_into_files_and_marks() {
        for good in ["a", "test-runner", "gpu_2.big", "_x", "9"] {
            assert_eq!(good.parse::<InstanceName>().unwrap().as_str(), good);
            assert_eq!(good.parse::<MetaRunnerName>().unwrap().to_string(), good);
        }
        for bad in ["", ".", "..", "-x", ".x", "a/b", "a b", "ä", "a]"] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad}");
            assert!(bad.parse::<MetaRunnerName>().is_err(), "{bad}");
        }
    }
}
