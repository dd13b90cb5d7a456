//! The demo's GitLab: a stand-in in this process, spoken to through its API as a client would.

use std::net::SocketAddr;
use std::time::Duration;

use gitlab_stand_in::{Options, StandIn};
use serde_json::{Value, json};

use crate::failure::DemoError;

pub(crate) const PROJECT: &str = "demo/primes";

/// What gitlab-meta-runner asks of its token.
const SCOPES: &[&str] = &["read_api", "create_runner", "manage_runner"];

#[derive(Debug)]
pub(crate) struct GitLab {
    server: StandIn,
    agent: ureq::Agent,
}

/// A job as the report needs it. Times in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) failure_reason: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) is_stuck: bool,
    pub(crate) runner: Option<String>,
    pub(crate) queued: Option<f64>,
    pub(crate) duration: Option<f64>,
    pub(crate) log: String,
}

impl GitLab {
    /// Starts it with an empty project.
    pub(crate) fn start(listen: SocketAddr) -> Result<Self, DemoError> {
        let options = Options { listen, ..Options::default() };
        let server = StandIn::start(options).map_err(|source| DemoError::GitLab { source })?;
        server.add_project_with(json!({ "path": PROJECT, "repository": true }));
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build();
        Ok(Self { server, agent: config.new_agent() })
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    pub(crate) fn management_token(&self) -> String {
        self.server.project_token(PROJECT, SCOPES)
    }

    /// Where git pushes to, with a password.
    pub(crate) fn remote(&self) -> String {
        let with_password = format!("http://root:{}@", self.server.root_token());
        format!("{}/{PROJECT}.git", self.url().replacen("http://", &with_password, 1))
    }

    /// Starts a pipeline for `main` and gives its id.
    pub(crate) fn start_pipeline(&self, variables: &[(&str, String)]) -> Result<i64, DemoError> {
        let url = self.project_url("pipeline");
        let failed = |source| DemoError::Request { request: format!("POST {url}"), source: Box::new(source) };
        let variables: Vec<Value> =
            variables.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let answer: Value = self
            .agent
            .post(&url)
            .header("PRIVATE-TOKEN", self.server.root_token())
            .send_json(json!({ "ref": "main", "variables": variables }))
            .and_then(|mut answer| answer.body_mut().read_json())
            .map_err(failed)?;
        answer["id"].as_i64().ok_or(DemoError::Answer { request: format!("POST {url}"), field: "id" })
    }

    /// The jobs of a pipeline in the order of their ids, with their logs.
    pub(crate) fn jobs(&self, pipeline: i64) -> Result<Vec<Job>, DemoError> {
        let url = self.project_url(&format!("pipelines/{pipeline}/jobs?per_page=100"));
        let failed = |source| DemoError::Request { request: format!("GET {url}"), source: Box::new(source) };
        let list: Vec<Value> = self
            .agent
            .get(&url)
            .header("PRIVATE-TOKEN", self.server.root_token())
            .call()
            .and_then(|mut answer| answer.body_mut().read_json())
            .map_err(failed)?;
        let mut jobs: Vec<Job> = list.iter().map(|entity| self.job(entity)).collect();
        jobs.sort_by_key(|job| job.id);
        Ok(jobs)
    }

    /// A job from its entity. GitLab's API tells neither exit code nor whether a job is stuck; the stand-in does.
    fn job(&self, entity: &Value) -> Job {
        let id = entity["id"].as_i64().unwrap_or_default();
        let view = self.server.job(id);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Job {
            id,
            name: text(&entity["name"]).unwrap_or_default(),
            status: text(&entity["status"]).unwrap_or_default(),
            failure_reason: text(&entity["failure_reason"]),
            exit_code: view["exit_code"].as_i64(),
            is_stuck: view["stuck"] == json!(true),
            runner: text(&entity["runner"]["description"]),
            queued: entity["queued_duration"].as_f64(),
            duration: entity["duration"].as_f64(),
            log: text(&view["trace"]).unwrap_or_default(),
        }
    }

    fn project_url(&self, rest: &str) -> String {
        format!("{}/api/v4/projects/{}/{rest}", self.url(), PROJECT.replace('/', "%2F"))
    }
}
