//! Runners: what `meta-register` reads and writes.

use meta_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::Method;

use crate::ApiError;
use crate::client::{Call, Client};
use crate::retry::Repeat;

/// To whom a runner belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The id of a project.
    Project(u64),
    /// The id of a group.
    Group(u64),
}

/// What a runner is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRunner {
    pub owner: Owner,
    pub description: String,
    pub tags: Vec<String>,
    pub run_untagged: bool,
    pub protected: bool,
    /// Whether a project runner can be given to other projects.
    pub locked: bool,
    /// Seconds, at least 600.
    pub maximum_timeout_s: Option<u64>,
    pub maintenance_note: String,
}

/// A runner's token, as it is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    pub token: Secret,
    /// ISO 8601; None: never.
    pub expires_at: Option<String>,
}

/// A runner of a list. Tags and note are only in [`Runner`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerSummary {
    pub id: u64,
    pub description: String,
}

/// All that GitLab tells of one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    pub id: u64,
    pub description: String,
    pub paused: bool,
    /// Whether it was in contact with GitLab within two hours.
    pub online: bool,
    /// Sorted.
    pub tags: Vec<String>,
    pub run_untagged: bool,
    pub protected: bool,
    pub locked: bool,
    /// Seconds.
    pub maximum_timeout_s: Option<u64>,
    pub maintenance_note: String,
    /// Ids of the projects it is assigned to, the owning one first.
    pub projects: Vec<u64>,
    /// Ids of the groups it belongs to.
    pub groups: Vec<u64>,
}

/// New values for some fields of a runner. None leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RunnerChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(rename = "tag_list", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_untagged: Option<bool>,
    #[serde(
        rename = "access_level",
        serialize_with = "access_level",
        skip_serializing_if = "Option::is_none"
    )]
    pub protected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// The inner None removes the limit.
    #[serde(rename = "maximum_timeout", skip_serializing_if = "Option::is_none")]
    pub maximum_timeout_s: Option<Option<u64>>,
}

#[derive(Serialize)]
struct WireNewRunner<'a> {
    runner_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<u64>,
    description: &'a str,
    tag_list: &'a [String],
    run_untagged: bool,
    access_level: &'static str,
    locked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_timeout: Option<u64>,
    maintenance_note: &'a str,
}

#[derive(Deserialize)]
struct WireIssued {
    id: u64,
    token: String,
    token_expires_at: Option<String>,
}

#[derive(Deserialize)]
struct WireReset {
    token: String,
    token_expires_at: Option<String>,
}

#[derive(Deserialize)]
struct WireSummary {
    id: u64,
    description: Option<String>,
}

#[derive(Deserialize)]
struct WireOwner {
    id: u64,
}

#[derive(Deserialize)]
struct WireRunner {
    id: u64,
    description: Option<String>,
    paused: bool,
    #[serde(default)]
    status: String,
    #[serde(default)]
    tag_list: Vec<String>,
    #[serde(default)]
    run_untagged: bool,
    #[serde(default)]
    access_level: String,
    #[serde(default)]
    locked: bool,
    maximum_timeout: Option<u64>,
    maintenance_note: Option<String>,
    #[serde(default)]
    projects: Vec<WireOwner>,
    #[serde(default)]
    groups: Vec<WireOwner>,
}

impl Client {
    /// `POST /user/runners`: the new runner's id and its token, which GitLab never shows again.
    pub fn create_runner(&self, runner: &NewRunner) -> Result<(u64, IssuedToken), ApiError> {
        let (runner_type, project_id, group_id) = match runner.owner {
            Owner::Project(id) => ("project_type", Some(id), None),
            Owner::Group(id) => ("group_type", None, Some(id)),
        };
        let body = WireNewRunner {
            runner_type,
            project_id,
            group_id,
            description: &runner.description,
            tag_list: &runner.tags,
            run_untagged: runner.run_untagged,
            access_level: level(runner.protected),
            locked: runner.locked,
            maximum_timeout: runner.maximum_timeout_s,
            maintenance_note: &runner.maintenance_note,
        };
        let call = Call {
            method: Method::POST,
            path: "/user/runners",
            scope: "create_runner",
            repeat: Repeat::Doubles,
            with_our_token: true,
        };
        let issued = self.send::<WireIssued>(&call, Some(&body))?.value;
        Ok((issued.id, IssuedToken { token: Secret::new(issued.token), expires_at: issued.token_expires_at }))
    }

    /// `GET /runners/:id`.
    pub fn runner(&self, id: u64) -> Result<Runner, ApiError> {
        let wire: WireRunner = self.get(&format!("/runners/{id}"), "manage_runner")?;
        Ok(wire.into())
    }

    /// `GET /projects/:id/runners` or `GET /groups/:id/runners`: those that belong to the project or group itself, not
    /// the ones that it inherits.
    pub fn runners_of(&self, owner: Owner) -> Result<Vec<RunnerSummary>, ApiError> {
        let path = match owner {
            Owner::Project(id) => format!("/projects/{id}/runners?type=project_type"),
            Owner::Group(id) => format!("/groups/{id}/runners?type=group_type"),
        };
        let runners = self.get_list::<WireSummary>(&path, "read_api")?;
        Ok(runners
            .into_iter()
            .map(|wire| RunnerSummary { id: wire.id, description: wire.description.unwrap_or_default() })
            .collect())
    }

    /// `PUT /runners/:id`: the runner as it is afterwards.
    pub fn update_runner(&self, id: u64, change: &RunnerChange) -> Result<Runner, ApiError> {
        let path = format!("/runners/{id}");
        let wire: WireRunner = self.send(&manage(Method::PUT, &path), Some(change))?.value;
        Ok(wire.into())
    }

    /// `POST /projects/:id/runners`: lets a runner that is not locked serve one more project.
    pub fn assign_runner(&self, id: u64, project_id: u64) -> Result<(), ApiError> {
        let path = format!("/projects/{project_id}/runners");
        let body = serde_json::json!({ "runner_id": id });
        self.send::<Value>(&manage(Method::POST, &path), Some(&body)).map(|_| ())
    }

    /// `DELETE /projects/:id/runners/:runner_id`: takes a runner away from a project that does not own it.
    pub fn unassign_runner(&self, id: u64, project_id: u64) -> Result<(), ApiError> {
        let path = format!("/projects/{project_id}/runners/{id}");
        self.send::<Value>(&manage(Method::DELETE, &path), None::<&()>).map(|_| ())
    }

    /// `DELETE /runners/:id`. A runner that is gone already is an error here ([`ApiError::is_not_found`]), and so is one
    /// that serves more than one project.
    pub fn delete_runner(&self, id: u64) -> Result<(), ApiError> {
        let path = format!("/runners/{id}");
        self.send::<Value>(&manage(Method::DELETE, &path), None::<&()>).map(|_| ())
    }

    /// `POST /runners/:id/reset_authentication_token`: a new token; the old one is refused from now on. May be repeated
    /// when an answer was lost: what counts is the last token.
    pub fn reset_runner_token(&self, id: u64) -> Result<IssuedToken, ApiError> {
        let path = format!("/runners/{id}/reset_authentication_token");
        let wire: WireReset = self.send(&manage(Method::POST, &path), None::<&()>)?.value;
        Ok(IssuedToken { token: Secret::new(wire.token), expires_at: wire.token_expires_at })
    }
}

impl From<WireRunner> for Runner {
    fn from(wire: WireRunner) -> Self {
        let mut tags = wire.tag_list;
        tags.sort();
        Self {
            id: wire.id,
            description: wire.description.unwrap_or_default(),
            paused: wire.paused,
            online: wire.status == "online",
            tags,
            run_untagged: wire.run_untagged,
            protected: wire.access_level == level(true),
            locked: wire.locked,
            maximum_timeout_s: wire.maximum_timeout,
            maintenance_note: wire.maintenance_note.unwrap_or_default(),
            projects: wire.projects.into_iter().map(|project| project.id).collect(),
            groups: wire.groups.into_iter().map(|group| group.id).collect(),
        }
    }
}

fn manage(method: Method, path: &str) -> Call<'_> {
    Call { method, path, scope: "manage_runner", repeat: Repeat::Harmless, with_our_token: true }
}

fn level(protected: bool) -> &'static str {
    if protected { "ref_protected" } else { "not_protected" }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn access_level<S: serde::Serializer>(protected: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
    protected.map(level).serialize(serializer)
}
