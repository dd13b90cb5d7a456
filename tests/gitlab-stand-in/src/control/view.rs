//! The whole server as JSON, for tests to look at.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::matching::is_stuck;
use crate::model::{Artifact, Job, Pipeline, Project, Runner, State};

/// Everything but requests.
pub(crate) fn state_view(state: &State) -> Value {
    json!({
        "now": iso(state.now()),
        "settings": state.settings,
        "projects": state.projects.values().map(project_view).collect::<Vec<_>>(),
        "runners": state.runners.values().map(|runner| runner_view(state, runner)).collect::<Vec<_>>(),
        "pipelines": state.pipelines.values().map(pipeline_view).collect::<Vec<_>>(),
        "jobs": state.jobs.values().map(|job| job_view(state, job)).collect::<Vec<_>>(),
        "faults": state.faults,
    })
}

/// One job. The trace is text here; bytes that are no UTF-8 are replaced.
pub(crate) fn job_view(state: &State, job: &Job) -> Value {
    let artifact = |artifact: &Artifact| {
        json!({
            "filename": artifact.filename,
            "type": artifact.kind,
            "format": artifact.format,
            "expire_in": artifact.expire_in,
            "size": artifact.content.len(),
        })
    };
    json!({
        "id": job.id,
        "name": job.spec.name,
        "stage": job.spec.stage,
        "project_id": job.project_id,
        "project": state.projects.get(&job.project_id).map(|project| &project.full_path),
        "pipeline_id": job.pipeline_id,
        "tags": job.spec.tags,
        "protected": job.protected,
        "status": job.status,
        "claimed": job.is_claimed(),
        "stuck": is_stuck(state, job, state.now()),
        "failure_reason": job.failure_reason,
        "exit_code": job.exit_code,
        "allowed_to_fail": job.failure_is_allowed(),
        "runner_id": job.runner_id,
        "runner": job.runner_id.and_then(|id| state.runners.get(&id)).map(|runner| &runner.description),
        "system_id": job.system_id,
        "retried": job.retried,
        "created_at": iso(job.created_at),
        "queued_at": job.queued_at.map(iso),
        "started_at": job.started_at.map(iso),
        "finished_at": job.finished_at.map(iso),
        "checksum": job.reported_checksum,
        "artifacts": job.artifacts.iter().map(artifact).collect::<Vec<_>>(),
        "trace": String::from_utf8_lossy(&job.trace),
    })
}

fn project_view(project: &Project) -> Value {
    json!({ "id": project.id, "path": project.full_path, "protected_refs": project.protected_refs })
}

fn pipeline_view(pipeline: &Pipeline) -> Value {
    json!({
        "id": pipeline.id,
        "project_id": pipeline.project_id,
        "ref": pipeline.reference,
        "sha": pipeline.commit.sha,
        "status": pipeline.status,
    })
}

/// A runner with its token: the control API hides nothing.
fn runner_view(state: &State, runner: &Runner) -> Value {
    json!({
        "id": runner.id,
        "type": runner.kind,
        "projects": runner.project_ids,
        "group": runner.group_id,
        "token": runner.token,
        "token_expires_at": runner.token_expires_at.map(iso),
        "description": runner.description,
        "maintenance_note": runner.maintenance_note,
        "tags": runner.tags,
        "run_untagged": runner.run_untagged,
        "locked": runner.locked,
        "paused": runner.paused,
        "protected": runner.protected_only,
        "maximum_timeout": runner.maximum_timeout,
        "status": runner.status(state.now()).name(),
        "contacted_at": runner.contacted_at.map(iso),
        "stored_contact": runner.stored_contact.map(iso),
        "managers": runner.managers.keys().collect::<Vec<_>>(),
    })
}
