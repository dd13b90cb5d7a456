//! One job as its configuration means it.

use serde::{Deserialize, Serialize};

/// A variable as runners receive it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    pub(crate) key: String,
    pub(crate) value: String,
    #[serde(default = "yes")]
    pub(crate) public: bool,
    #[serde(default)]
    pub(crate) file: bool,
    #[serde(default)]
    pub(crate) masked: bool,
    #[serde(default)]
    pub(crate) raw: bool,
}

fn yes() -> bool {
    true
}

impl Variable {
    pub(crate) fn public(key: &str, value: impl Into<String>) -> Self {
        let (key, value) = (key.to_owned(), value.into());
        Self { key, value, public: true, file: false, masked: false, raw: false }
    }

    /// Neither public nor shown in logs.
    pub(crate) fn secret(key: &str, value: impl Into<String>) -> Self {
        Self { public: false, masked: true, ..Self::public(key, value) }
    }
}

/// `image:`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ImageSpec {
    pub(crate) name: String,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) pull_policy: Vec<String>,
    /// `docker:` of the image: `user`, `platform`.
    pub(crate) docker: Vec<(String, String)>,
}

/// One entry of `services:`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ServiceSpec {
    pub(crate) image: ImageSpec,
    pub(crate) alias: Option<String>,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) variables: Vec<Variable>,
}

/// One upload: `artifacts:` makes one for its paths and one for each report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ArtifactSpec {
    pub(crate) name: Option<String>,
    pub(crate) untracked: bool,
    pub(crate) paths: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) when: String,
    pub(crate) expire_in: Option<String>,
    pub(crate) kind: String,
    pub(crate) format: String,
}

/// `cache:key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CacheKey {
    Text(String),
    /// Made from the commits that changed these files last.
    Files {
        prefix: String,
        files: Vec<String>,
    },
}

/// One entry of `cache:`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CacheSpec {
    pub(crate) key: CacheKey,
    pub(crate) untracked: bool,
    pub(crate) paths: Vec<String>,
    pub(crate) policy: String,
    pub(crate) when: String,
    pub(crate) fallback_keys: Vec<String>,
}

/// When a job may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    OnSuccess,
    OnFailure,
    Always,
    Manual,
}

/// `allow_failure:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowFailure {
    No,
    Yes,
    ExitCodes(Vec<i64>),
}

impl AllowFailure {
    /// Whether a failure with this exit code is allowed.
    pub(crate) fn covers(&self, exit_code: Option<i64>) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// One entry of `needs:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) job: String,
    pub(crate) artifacts: bool,
    pub(crate) optional: bool,
}

/// `retry:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RetrySpec {
    pub(crate) max: u64,
    /// Failure reasons; empty means always.
    pub(crate) when: Vec<String>,
    pub(crate) exit_codes: Vec<i64>,
}

impl RetrySpec {
    /// Whether a job that was retried `count` times already is tried again after this end.
    pub(crate) fn covers(&self, count: u64, reason: &str, exit_code: Option<i64>) -> bool {
        let any_condition = !self.when.is_empty() || !self.exit_codes.is_empty();
        let reason_fits = self.when.iter().any(|when| when == "always" || when == reason);
        let code_fits = exit_code.is_some_and(|code| self.exit_codes.contains(&code));
        count < self.max && (!any_condition || reason_fits || code_fits)
    }
}

/// A job of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobSpec {
    pub(crate) name: String,
    pub(crate) stage: String,
    pub(crate) tags: Vec<String>,
    pub(crate) image: Option<ImageSpec>,
    pub(crate) services: Vec<ServiceSpec>,
    /// Global and own variables, the own ones last.
    pub(crate) variables: Vec<Variable>,
    /// `before_script` and `script`, merged as the server merges them.
    pub(crate) script: Vec<String>,
    pub(crate) after_script: Vec<String>,
    /// The command that `release:` stands for.
    pub(crate) release: Option<String>,
    pub(crate) pre_get_sources: Vec<String>,
    pub(crate) artifacts: Vec<ArtifactSpec>,
    pub(crate) cache: Vec<CacheSpec>,
    pub(crate) dependencies: Option<Vec<String>>,
    pub(crate) needs: Option<Vec<Need>>,
    pub(crate) allow_failure: AllowFailure,
    pub(crate) when: When,
    pub(crate) retry: RetrySpec,
    /// Seconds.
    pub(crate) timeout: Option<i64>,
    pub(crate) environment: Option<String>,
}
