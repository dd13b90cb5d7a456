//! What the control API and the seed file accept.

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Level, Scope};
use crate::pipeline::Variable;

/// A user.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) admin: bool,
}

/// A role of a user in a project or group.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMember {
    pub(crate) user: String,
    /// Full path of a project or group.
    pub(crate) path: String,
    pub(crate) role: Level,
}

/// A project; its groups are made with it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    /// Full path, at least one group and the project.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) public: bool,
    #[serde(default = "main_branch")]
    pub(crate) default_branch: String,
    /// Default: the default branch.
    #[serde(default)]
    pub(crate) protected_refs: Option<Vec<String>>,
    /// Whether an empty bare repository is made.
    #[serde(default)]
    pub(crate) repository: bool,
    #[serde(default)]
    pub(crate) variables: Vec<Variable>,
    #[serde(default = "yes")]
    pub(crate) instance_runners_enabled: bool,
    #[serde(default = "yes")]
    pub(crate) group_runners_enabled: bool,
    #[serde(default = "yes")]
    pub(crate) builds_enabled: bool,
    #[serde(default = "yes")]
    pub(crate) artifacts_enabled: bool,
    /// Seconds.
    #[serde(default = "hour")]
    pub(crate) build_timeout: i64,
}

/// A token of a user, or of a project or group: then a bot with `role` is made for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) project: Option<String>,
    #[serde(default)]
    pub(crate) group: Option<String>,
    #[serde(default = "maintainer")]
    pub(crate) role: Level,
    pub(crate) scopes: Vec<Scope>,
    /// Seconds from now; negative for one that has expired already.
    #[serde(default)]
    pub(crate) expires_in: Option<i64>,
    /// The secret itself, where a test wants to know it before.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

/// What can happen to a token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenChange {
    pub(crate) secret: String,
    #[serde(default)]
    pub(crate) revoke: bool,
    /// Seconds from now.
    #[serde(default)]
    pub(crate) expires_in: Option<i64>,
}

/// One job in a pipeline of its own, without a repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    pub(crate) project: String,
    #[serde(default = "main_branch")]
    pub(crate) r#ref: String,
    #[serde(default = "job_name")]
    pub(crate) name: String,
    /// The keys of a job in `.gitlab-ci.yml`.
    pub(crate) job: Value,
}

/// A pipeline from a configuration given as text: without a repository, or on the head of `ref`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPipeline {
    pub(crate) project: String,
    #[serde(default = "main_branch")]
    pub(crate) r#ref: String,
    /// The text of a `.gitlab-ci.yml`.
    pub(crate) yaml: String,
    #[serde(default)]
    pub(crate) variables: Vec<Variable>,
    /// Whether its jobs check out the project's repository. The configuration is not read from there.
    #[serde(default)]
    pub(crate) repository: bool,
}

/// A runner made without a management token, for tests of the runner's side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRunner {
    /// Full path of the owning project or group; an instance runner without it.
    #[serde(default)]
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    #[serde(default)]
    pub(crate) run_untagged: bool,
    #[serde(default)]
    pub(crate) protected: bool,
    /// Registered the old way: a token without `glrt-`.
    #[serde(default)]
    pub(crate) legacy: bool,
    #[serde(default)]
    pub(crate) token: Option<String>,
}

/// The seed file: everything is made in this order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Seed {
    pub(crate) settings: Value,
    pub(crate) users: Vec<NewUser>,
    pub(crate) projects: Vec<NewProject>,
    pub(crate) members: Vec<NewMember>,
    pub(crate) tokens: Vec<NewToken>,
    pub(crate) runners: Vec<NewRunner>,
    pub(crate) jobs: Vec<NewJob>,
    pub(crate) pipelines: Vec<NewPipeline>,
}

fn yes() -> bool {
    true
}

fn hour() -> i64 {
    3600
}

fn main_branch() -> String {
    "main".to_owned()
}

fn job_name() -> String {
    "job".to_owned()
}

fn maintainer() -> Level {
    Level::Maintainer
}
