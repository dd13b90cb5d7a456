//! What the API shows of each thing. Field lists: GitLab `lib/api/entities`.

use serde_json::{Value, json};

use crate::clock::{Time, iso, seconds_between};
use crate::model::{Artifact, Commit, Job, Manager, Pipeline, Project, Runner, RunnerStatus, State, User};

fn iso_or_null(time: Option<Time>) -> Value {
    time.map_or(Value::Null, |time| Value::from(iso(time)))
}

pub(crate) fn user(state: &State, user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "state": "active",
        "locked": false,
        "avatar_url": null,
        "web_url": format!("{}/{}", state.url, user.username),
        "created_at": iso(user.created_at),
        "bot": user.bot,
    })
}

pub(crate) fn project(state: &State, project: &Project) -> Value {
    let mut entity = simple_project(state, project);
    let details = json!({
        "archived": false,
        "empty_repo": !state.repository(project).exists(),
        "jobs_enabled": project.builds_enabled,
        "builds_access_level": if project.builds_enabled { "enabled" } else { "disabled" },
        "shared_runners_enabled": project.instance_runners_enabled,
        "group_runners_enabled": project.group_runners_enabled,
        "public_jobs": true,
        "build_timeout": project.build_timeout,
        "ci_config_path": null,
        "ci_job_token_scope_enabled": false,
    });
    if let (Value::Object(entity), Value::Object(details)) = (&mut entity, details) {
        entity.extend(details);
    }
    entity
}

/// What `simple=true` leaves of it.
pub(crate) fn simple_project(state: &State, project: &Project) -> Value {
    let url = format!("{}/{}", state.url, project.full_path);
    let namespace = state.groups.get(&project.group_id);
    let path = namespace.map(|group| group.full_path.as_str());
    json!({
        "id": project.id,
        "description": null,
        "name": project.path,
        "name_with_namespace": project.full_path.replace('/', " / "),
        "path": project.path,
        "path_with_namespace": project.full_path,
        "created_at": iso(project.created_at),
        "default_branch": project.default_branch,
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": format!("git@localhost:{}.git", project.full_path),
        "http_url_to_repo": format!("{url}.git"),
        "web_url": url,
        "readme_url": null,
        "visibility": if project.public { "public" } else { "private" },
        "namespace": { "id": project.group_id, "name": path, "path": path, "kind": "group", "full_path": path },
    })
}

pub(crate) fn commit(commit: &Commit) -> Value {
    let Commit { sha, before_sha, message, author_name, author_email, authored_at } = commit;
    json!({
        "id": sha,
        "short_id": commit.short_sha(),
        "created_at": authored_at,
        "parent_ids": if before_sha.starts_with("0000") { json!([]) } else { json!([before_sha]) },
        "title": commit.title(),
        "message": message,
        "author_name": author_name,
        "author_email": author_email,
        "authored_date": authored_at,
        "committer_name": author_name,
        "committer_email": author_email,
        "committed_date": authored_at,
    })
}

/// The short form, as lists and jobs carry it.
pub(crate) fn pipeline(state: &State, pipeline: &Pipeline) -> Value {
    let path = state.projects.get(&pipeline.project_id).map_or("", |project| &project.full_path);
    json!({
        "id": pipeline.id,
        "iid": pipeline.iid,
        "project_id": pipeline.project_id,
        "sha": pipeline.commit.sha,
        "ref": pipeline.reference,
        "status": pipeline.status,
        "source": pipeline.source,
        "name": null,
        "created_at": iso(pipeline.created_at),
        "updated_at": iso(pipeline.updated_at),
        "web_url": format!("{}/{path}/-/pipelines/{}", state.url, pipeline.id),
    })
}

/// The long form of `GET /projects/:id/pipelines/:pid`.
pub(crate) fn pipeline_details(state: &State, details: &Pipeline) -> Value {
    let mut value = pipeline(state, details);
    let status = details.status.name();
    // A whole number for pipelines, with a fraction for jobs.
    let whole_seconds = |from, to| seconds_between(from, to).round() as i64;
    let ended = details.finished_at.unwrap_or_else(|| state.now());
    let duration = details.started_at.map(|start| whole_seconds(start, ended));
    let queued = details.started_at.map(|start| whole_seconds(details.created_at, start));
    value["before_sha"] = json!(details.commit.before_sha);
    value["tag"] = json!(details.tag);
    value["yaml_errors"] = Value::Null;
    value["user"] = state.users.get(&details.user_id).map_or(Value::Null, |found| user(state, found));
    value["started_at"] = iso_or_null(details.started_at);
    value["finished_at"] = iso_or_null(details.finished_at);
    value["committed_at"] = Value::Null;
    value["duration"] = json!(duration);
    value["queued_duration"] = json!(queued);
    value["coverage"] = Value::Null;
    value["archived"] = json!(false);
    value["detailed_status"] = json!({
        "icon": format!("status_{status}"), "text": status, "label": status, "group": status,
        "tooltip": status, "has_details": true, "details_path": null, "illustration": null, "favicon": null,
    });
    value
}

pub(crate) fn job(state: &State, job: &Job) -> Value {
    let project = state.projects.get(&job.project_id);
    let parent = state.pipelines.get(&job.pipeline_id);
    let path = project.map_or("", |project| &project.full_path);
    let now = state.now();
    let duration = job.started_at.map(|start| seconds_between(start, job.finished_at.unwrap_or(now)));
    let queued = job
        .queued_at
        .map(|queued| seconds_between(queued, job.started_at.or(job.finished_at).unwrap_or(now)));
    let runner = job.runner_id.and_then(|id| state.runners.get(&id));
    let manager = runner.and_then(|runner| runner.managers.get(job.system_id.as_deref()?));
    let file =
        job.archive().map(|archive| json!({ "filename": archive.filename, "size": archive.content.len() }));
    let mut value = json!({
        "id": job.id,
        "name": job.spec.name,
        "stage": job.spec.stage,
        "status": job.status,
        "ref": parent.map(|pipeline| &pipeline.reference),
        "tag": parent.is_some_and(|pipeline| pipeline.tag),
        "source": parent.map(|pipeline| &pipeline.source),
        "archived": false,
        "allow_failure": job.failure_is_allowed(),
        "coverage": null,
        "created_at": iso(job.created_at),
        "started_at": iso_or_null(job.started_at),
        "finished_at": iso_or_null(job.finished_at),
        "erased_at": iso_or_null(job.erased_at),
        "duration": duration,
        "queued_duration": queued,
        "tag_list": job.spec.tags,
        "user": state.users.get(&job.user_id).map(|found| user(state, found)),
        "commit": parent.map(|pipeline| commit(&pipeline.commit)),
        "pipeline": parent.map(|found| pipeline(state, found)),
        "web_url": format!("{}/{path}/-/jobs/{}", state.url, job.id),
        "project": { "ci_job_token_scope_enabled": false },
        "artifacts": job.artifacts.iter().map(artifact).collect::<Vec<_>>(),
        "artifacts_file": file,
        "artifacts_expire_at": null,
        "runner": runner.map(|runner| runner_item(runner, now, state)),
        "runner_manager": manager.map(|manager| manager_item(manager, now, state)),
    });
    if let Some(reason) = &job.failure_reason {
        value["failure_reason"] = json!(reason);
    }
    value
}

fn artifact(artifact: &Artifact) -> Value {
    json!({
        "file_type": artifact.kind,
        "size": artifact.content.len(),
        "filename": artifact.filename,
        "file_format": artifact.format,
    })
}

/// A runner as lists show it: no tags, no note, no contact time.
pub(crate) fn runner_item(runner: &Runner, now: Time, state: &State) -> Value {
    let status = runner.status(now);
    let online = runner.contacted_at.map(|_| status == RunnerStatus::Online);
    let busy = state.jobs.values().any(|job| job.runner_id == Some(runner.id) && job.is_processing());
    json!({
        "id": runner.id,
        "description": runner.description,
        "ip_address": "",
        "active": !runner.paused,
        "paused": runner.paused,
        "is_shared": runner.group_id.is_none() && runner.project_ids.is_empty(),
        "runner_type": runner.kind,
        "name": null,
        "online": online,
        "status": status.name(),
        "job_execution_status": if busy { "active" } else { "idle" },
        "created_at": iso(runner.created_at),
        "created_by": state.users.get(&runner.creator_id).map(|found| user(state, found)),
    })
}

/// A runner as `GET /runners/:id` shows it.
pub(crate) fn runner_details(runner: &Runner, now: Time, state: &State) -> Value {
    let mut value = runner_item(runner, now, state);
    let latest = runner.managers.values().max_by_key(|manager| manager.contacted_at);
    let info = |key: &str| latest.map_or(Value::Null, |manager| manager.info[key].clone());
    let short = |id: &i64| {
        let project = state.projects.get(id)?;
        Some(json!({
            "id": project.id,
            "name": project.path,
            "name_with_namespace": project.full_path.replace('/', " / "),
            "path": project.path,
            "path_with_namespace": project.full_path,
        }))
    };
    let group = |id: &i64| {
        let group = state.groups.get(id)?;
        let url = format!("{}/groups/{}", state.url, group.full_path);
        Some(json!({ "id": group.id, "name": group.full_path, "web_url": url }))
    };
    value["tag_list"] = json!(runner.tags);
    value["run_untagged"] = json!(runner.run_untagged);
    value["locked"] = json!(runner.locked);
    value["maximum_timeout"] = json!(runner.maximum_timeout);
    value["access_level"] = json!(if runner.protected_only { "ref_protected" } else { "not_protected" });
    value["maintenance_note"] = json!(runner.maintenance_note);
    value["contacted_at"] = iso_or_null(runner.contacted_at);
    value["projects"] = runner.project_ids.iter().filter_map(short).collect();
    value["groups"] = runner.group_id.iter().filter_map(group).collect();
    for key in ["version", "revision", "platform", "architecture"] {
        value[key] = info(key);
    }
    value
}

pub(crate) fn manager_item(manager: &Manager, now: Time, state: &State) -> Value {
    let status = RunnerStatus::at(now, manager.created_at, manager.contacted_at);
    let busy = state
        .jobs
        .values()
        .any(|job| job.system_id.as_ref() == Some(&manager.system_id) && job.is_processing());
    json!({
        "id": manager.id,
        "system_id": manager.system_id,
        "version": manager.info["version"],
        "revision": manager.info["revision"],
        "platform": manager.info["platform"],
        "architecture": manager.info["architecture"],
        "created_at": iso(manager.created_at),
        "contacted_at": iso_or_null(manager.contacted_at),
        "ip_address": "127.0.0.1",
        "status": status.name(),
        "job_execution_status": if busy { "active" } else { "idle" },
    })
}
