//! Pipelines as users see them.

use serde_json::{Value, json};

use super::call::{Answer, Call, created, ok};
use super::entities;
use super::error::ApiError;
use super::jobs::scopes;
use super::paging::paged;
use crate::git;
use crate::lifecycle;
use crate::model::{Level, Pipeline, State, Status};
use crate::pipeline::{Draft, Variable, create_pipeline, parse_config};

/// `POST /projects/:id/pipeline`: reads `.gitlab-ci.yml` at `ref`.
pub(super) async fn create(call: Call) -> Answer {
    let (project, user, path, id) = {
        let mut state = call.app.lock();
        let caller = call.writer(&mut state)?;
        let project = call.project_as(&state, &caller.user, Level::Developer)?;
        let path = state.repository(&project);
        (project, caller.user, path, state.next_id())
    };
    let reference = call.params.text("ref").ok_or_else(|| ApiError::parameter("ref is missing"))?;
    let variables = given_variables(call.params.get("variables"))?;
    let invalid = |text: String| ApiError::invalid(json!({ "base": [text] }));
    let read = tokio::task::spawn_blocking(move || {
        let found = git::resolve(&path, &reference).ok().flatten();
        let (commit, tag) = found.ok_or_else(|| invalid("Reference not found".to_owned()))?;
        let text = git::file_at(&path, &commit.sha, ".gitlab-ci.yml");
        let text = text.ok_or_else(|| invalid("Missing CI config file".to_owned()))?;
        let config = parse_config(&text).map_err(|error| invalid(error.to_string()))?;
        git::keep_for_pipeline(&path, id, &commit.sha).map_err(|error| invalid(error.to_string()))?;
        Ok((reference, commit, tag, config))
    });
    let (reference, commit, tag, config) = read.await.map_err(|_| ApiError::not_found(""))??;
    let mut state = call.app.lock();
    let draft = Draft {
        id,
        project_id: project.id,
        user_id: user.id,
        reference,
        tag,
        commit,
        source: "api".to_owned(),
        variables,
        has_repository: true,
        config,
    };
    create_pipeline(&mut state, draft);
    let pipeline = state.pipelines.get(&id).ok_or_else(|| ApiError::not_found(""))?;
    created(&entities::pipeline_details(&state, pipeline))
}

/// `[{"key": ..., "value": ..., "variable_type": "env_var"|"file"}]`.
fn given_variables(given: Option<&Value>) -> Result<Vec<Variable>, ApiError> {
    let read = |item: &Value| {
        let text = |name: &str| item[name].as_str().map(str::to_owned);
        let key = text("key").ok_or_else(|| ApiError::parameter("variables[0][key] is missing"))?;
        let file = text("variable_type").as_deref() == Some("file");
        Ok(Variable { file, ..Variable::public(&key, text("value").unwrap_or_default()) })
    };
    given.and_then(Value::as_array).into_iter().flatten().map(read).collect()
}

pub(super) async fn list(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let project = call.project(&state, &caller.user)?;
    let text = |name: &str| call.params.text(name);
    let (reference, sha, status, source) = (text("ref"), text("sha"), text("status"), text("source"));
    let same =
        |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
    let wanted = |pipeline: &&Pipeline| {
        pipeline.project_id == project.id
            && same(&reference, &pipeline.reference)
            && same(&sha, &pipeline.commit.sha)
            && same(&status, pipeline.status.name())
            && same(&source, &pipeline.source)
    };
    let found = state.pipelines.values().filter(wanted);
    let mut items: Vec<Value> = found.map(|pipeline| entities::pipeline(&state, pipeline)).collect();
    if text("sort").as_deref() != Some("asc") {
        items.reverse();
    }
    paged(&call, &state, items)
}

pub(super) async fn show(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    call.project(&state, &caller.user)?;
    ok(&entities::pipeline_details(&state, find(&call, &state)?))
}

/// `GET /projects/:id/pipelines/:pid/jobs`, newest first.
pub(super) async fn jobs(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    call.project(&state, &caller.user)?;
    let pipeline = find(&call, &state)?;
    let statuses = scopes(&call)?;
    let retried = call.params.boolean("include_retried")?.unwrap_or(false);
    let wanted = state
        .jobs_of(pipeline.id)
        .rev()
        .filter(|job| (retried || !job.retried) && (statuses.is_empty() || statuses.contains(&job.status)));
    paged(&call, &state, wanted.map(|job| entities::job(&state, job)).collect())
}

/// The variables that the pipeline was started with.
pub(super) async fn variables(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    call.project_as(&state, &caller.user, Level::Developer)?;
    let item = |variable: &Variable| {
        let kind = if variable.file { "file" } else { "env_var" };
        json!({ "key": variable.key, "value": variable.value, "variable_type": kind, "raw": variable.raw })
    };
    paged(&call, &state, find(&call, &state)?.variables.iter().map(item).collect())
}

/// Trigger jobs: the stand-in has none.
pub(super) async fn bridges(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    call.project(&state, &caller.user)?;
    find(&call, &state)?;
    paged(&call, &state, Vec::new())
}

pub(super) async fn cancel(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.writer(&mut state)?;
    call.project_as(&state, &caller.user, Level::Developer)?;
    let id = find(&call, &state)?.id;
    let alive = |job: &&crate::model::Job| job.status.is_alive() && job.status != Status::Canceling;
    let jobs: Vec<i64> = state.jobs_of(id).filter(alive).map(|job| job.id).collect();
    for job in jobs {
        lifecycle::cancel(&mut state, job, false);
    }
    ok(&entities::pipeline_details(&state, find(&call, &state)?))
}

fn find<'a>(call: &Call, state: &'a State) -> Result<&'a Pipeline, ApiError> {
    let project = state.project_by_key(call.segment("id")).map(|project| project.id);
    let pipeline = state.pipelines.get(&call.id("pipeline_id")?);
    pipeline.filter(|pipeline| Some(pipeline.project_id) == project).ok_or_else(|| ApiError::not_found(""))
}
