//! The value tree that a configuration is read from: ordered, and with GitLab's `!reference` tag.

use super::ConfigError;

/// One YAML or JSON value. Maps keep the order of the file, because job ids follow it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    /// `!reference [job, key]`.
    Reference(Vec<String>),
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Key and value pairs of a map; of anything else none.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A text, number or bool as text.
    pub(crate) fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// A text or number; `place` names it in the error.
    pub(crate) fn text(&self, place: &str) -> Result<String, ConfigError> {
        self.scalar().ok_or_else(|| ConfigError::new(place, "config should be a string"))
    }

    pub(crate) fn bool(&self, place: &str) -> Result<bool, ConfigError> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(ConfigError::new(place, "config should be a boolean value")),
        }
    }

    pub(crate) fn integer(&self, place: &str) -> Result<i64, ConfigError> {
        let number = match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| ConfigError::new(place, "config should be an integer"))
    }

    /// One text or a list of texts.
    pub(crate) fn texts(&self, place: &str) -> Result<Vec<String>, ConfigError> {
        match self {
            Self::List(items) => items.iter().map(|item| item.text(place)).collect(),
            other => Ok(vec![other.text(place)?]),
        }
    }

    /// A script: one text or texts nested up to ten levels deep, flattened.
    pub(crate) fn script(&self, place: &str) -> Result<Vec<String>, ConfigError> {
        let mut lines = Vec::new();
        self.flatten(place, 10, &mut lines)?;
        Ok(lines)
    }

    fn flatten(&self, place: &str, depth: u8, lines: &mut Vec<String>) -> Result<(), ConfigError> {
        match self {
            Self::Text(line) => lines.push(line.clone()),
            Self::List(items) if depth > 0 => {
                for item in items {
                    item.flatten(place, depth - 1, lines)?;
                }
            }
            _ => {
                let text = "config should be a string or a nested array of strings up to 10 levels deep";
                return Err(ConfigError::new(place, text));
            }
        }
        Ok(())
    }
}

impl From<&serde_json::Value> for Node {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}
