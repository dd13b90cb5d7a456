//! What there is of the repository API: commits, because clients find a branch's last pipeline through them.

use serde_json::{Value, json};

use super::call::{Answer, Call, ok};
use super::entities;
use super::error::ApiError;
use crate::git;
use crate::model::Pipeline;

/// `GET /projects/:id/repository/commits/:sha`: a branch, a tag or an id.
pub(super) async fn commit(call: Call) -> Answer {
    let (project, path) = {
        let mut state = call.app.lock();
        let caller = call.reader(&mut state)?;
        let project = call.project(&state, &caller.user)?;
        let path = state.repository(&project);
        (project, path)
    };
    let name = call.segment("sha").to_owned();
    let found = tokio::task::spawn_blocking(move || git::commit_at(&path, &name)).await.ok().flatten();
    let commit = found.ok_or_else(|| ApiError::not_found("Commit"))?;
    let state = call.app.lock();
    let of_commit =
        |pipeline: &&Pipeline| pipeline.project_id == project.id && pipeline.commit.sha == commit.sha;
    let last = state.pipelines.values().rev().find(of_commit);
    let mut body = entities::commit(&commit);
    body["status"] = last.map_or(Value::Null, |pipeline| json!(pipeline.status));
    body["last_pipeline"] = last.map_or(Value::Null, |pipeline| entities::pipeline(&state, pipeline));
    body["project_id"] = json!(project.id);
    ok(&body)
}
