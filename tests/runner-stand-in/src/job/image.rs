//! `image` and `services` of the payload.

use serde::{Deserialize, Serialize};

use super::{List, is_empty};
use crate::job::variables::Variable;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Image {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) alias: String,
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) command: List<String>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) entrypoint: List<String>,
    #[serde(skip_serializing_if = "is_empty")]
    ports: List<Port>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) variables: List<Variable>,
    #[serde(skip_serializing_if = "is_empty")]
    pull_policy: List<String>,
    executor_opts: ExecutorOptions,
}

impl Image {
    /// The first of the aliases, which a job separates by blanks or commas.
    pub(crate) fn first_alias(&self) -> &str {
        self.alias.split([',', ' ', '\t', '\n']).find(|alias| !alias.is_empty()).unwrap_or("")
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Port {
    #[serde(skip_serializing_if = "is_zero")]
    number: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    protocol: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ExecutorOptions {
    docker: DockerOptions,
    kubernetes: KubernetesOptions,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct DockerOptions {
    platform: String,
    user: StringOrInteger,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct KubernetesOptions {
    user: StringOrInteger,
}

/// A user may be written as a number; it is handed on as a string.
#[derive(Clone, Debug, Default, Serialize)]
struct StringOrInteger(String);

impl<'de> Deserialize<'de> for StringOrInteger {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) if number.is_i64() => Ok(Self(number.to_string())),
            _ => Err(serde::de::Error::custom("the user is neither a string nor an integer")),
        }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}
