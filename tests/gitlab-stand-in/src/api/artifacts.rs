//! Artifacts up and down.

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::call::{Answer, Call, created, plain_answer};
use super::error::ApiError;
use super::job_api::limit_job_calls;
use crate::model::{Artifact, Job, Level, Status};
use crate::pipeline::parse_dotenv;

/// `POST /jobs/:id/artifacts`: one multipart part `file`.
pub(super) async fn upload(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = call.processing_job(&state)?;
    limit_job_calls(&call, &mut state, id)?;
    let project = state.jobs.get(&id).and_then(|job| state.projects.get(&job.project_id));
    if project.is_some_and(|project| !project.artifacts_enabled) {
        return Err(ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    let file = call.params.file.clone().ok_or_else(|| ApiError::bad_request("Missing artifacts file!"))?;
    if file.content.len() > state.settings.max_artifact_size {
        return Err(ApiError::with_status(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"));
    }
    let kind = call.params.text("artifact_type").unwrap_or_else(|| "archive".to_owned());
    let format = call.params.choice("artifact_format", &["zip", "gzip", "raw"])?;
    let artifact = Artifact {
        filename: file.filename,
        kind,
        format: format.unwrap_or_else(|| "zip".to_owned()),
        expire_in: call.params.text("expire_in"),
        content: Arc::from(file.content.as_ref()),
    };
    let dotenv = match artifact.kind.as_str() {
        "dotenv" => parse_dotenv(&artifact.content).map_err(ApiError::bad_request)?,
        _ => Vec::new(),
    };
    let job = state.jobs.get_mut(&id).ok_or_else(ApiError::forbidden)?;
    if job.artifacts.iter().any(|other| other.kind == artifact.kind) {
        return Err(ApiError::bad_request("another artifact of the same type already exists"));
    }
    job.artifacts.push(artifact);
    job.dotenv.extend(dotenv);
    created(&json!({ "message": "201 Created" }))
}

/// `GET /jobs/:id/artifacts` with the token of a running job of the same project.
pub(super) async fn download(call: Call) -> Answer {
    let mut state = call.app.lock();
    let secret = call.job_secret().ok_or_else(ApiError::unauthorized)?;
    let asking = state.job_by_token(&secret).ok_or_else(ApiError::unauthorized)?;
    let (asking_id, asking_project) = (asking.id, asking.project_id);
    if !matches!(asking.status, Status::Running | Status::Canceling) {
        return Err(ApiError::unauthorized());
    }
    limit_job_calls(&call, &mut state, asking_id)?;
    let job = state.jobs.get(&call.id("id")?).filter(|job| job.project_id == asking_project);
    send(job.ok_or_else(ApiError::forbidden)?)
}

/// `GET /projects/:id/jobs/:job_id/artifacts` for users.
pub(super) async fn of_project_job(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let project = call.project_as(&state, &caller.user, Level::Reporter)?;
    let job = state.jobs.get(&call.id("job_id")?).filter(|job| job.project_id == project.id);
    send(job.ok_or_else(|| ApiError::not_found(""))?)
}

/// `GET /projects/:id/jobs/artifacts/:ref/download?job=NAME`: of the newest successful job of that name.
pub(super) async fn latest(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let project = call.project_as(&state, &caller.user, Level::Reporter)?;
    let name = call.params.text("job").ok_or_else(|| ApiError::parameter("job is missing"))?;
    let wanted = |job: &&Job| {
        let pipeline = state.pipelines.get(&job.pipeline_id);
        job.project_id == project.id
            && job.spec.name == name
            && job.status == Status::Success
            && pipeline.is_some_and(|pipeline| pipeline.reference == call.segment("reference"))
    };
    send(state.jobs.values().rev().find(wanted).ok_or_else(|| ApiError::not_found(""))?)
}

fn send(job: &Job) -> Result<Response, ApiError> {
    let archive = job.archive().ok_or_else(|| ApiError::not_found(""))?;
    let disposition = format!("attachment; filename=\"{}\"", archive.filename);
    let headers =
        [("Content-Type", "application/octet-stream"), ("Content-Disposition", disposition.as_str())];
    Ok(plain_answer(StatusCode::OK, &headers, Body::from(archive.content.to_vec())))
}
