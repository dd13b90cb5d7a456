//! The body of a successful `POST /jobs/request`. Field names: gitlab-runner `common/spec/spec.go`.

use serde_json::{Value, json};

use super::spec::{ArtifactSpec, CacheSpec, ImageSpec, JobSpec, Need, ServiceSpec};
use super::variables::{repository_url, variables};
use crate::clock::seconds_between;
use crate::matching::can_take;
use crate::model::{Job, Pipeline, Project, Runner, State};

/// Failure reasons that runners may report.
pub(crate) const FAILURE_REASONS: [&str; 8] = [
    "unknown_failure",
    "script_failure",
    "runner_system_failure",
    "job_execution_timeout",
    "image_pull_failure",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "runner_interrupted",
];

/// The job as `runner` receives it; `None` if its project or pipeline is gone.
pub(crate) fn payload(state: &State, job: &Job, runner: &Runner) -> Option<Value> {
    let pipeline = state.pipelines.get(&job.pipeline_id)?;
    let project = state.projects.get(&job.project_id)?;
    let spec = &job.spec;
    let asked = spec.timeout.unwrap_or(project.build_timeout);
    let timeout = runner.maximum_timeout.map_or(asked, |maximum| asked.min(maximum));
    let suffix = if job.protected { "protected" } else { "non_protected" };
    Some(json!({
        "id": job.id,
        "token": job.token,
        "allow_git_fetch": true,
        "job_info": job_info(state, job, runner, project),
        "git_info": git_info(state, job, pipeline, project),
        "runner_info": { "timeout": timeout, "runner_session_url": null },
        "inputs": [],
        "variables": variables(state, job, runner),
        "steps": steps(spec, timeout),
        "hooks": hooks(spec),
        "image": spec.image.as_ref().map(image),
        "services": spec.services.iter().map(service).collect::<Vec<_>>(),
        "artifacts": if spec.artifacts.is_empty() {
            Value::Null
        } else {
            spec.artifacts.iter().map(artifact).collect()
        },
        "cache": spec.cache.iter().map(|entry| cache(entry, suffix)).collect::<Vec<_>>(),
        "credentials": credentials(state, job),
        "dependencies": dependencies(state, job),
        "features": {
            "trace_sections": true,
            "token_mask_prefixes": ["glpat-", "glrt-", "glcbt-"],
            "failure_reasons": FAILURE_REASONS,
        },
        "secrets": {},
        "policy_options": { "execution_policy_job": false, "policy_name": "" },
    }))
}

/// The earlier jobs whose artifacts `job` gets: what `dependencies:` or `needs:` name, else all earlier stages.
pub(crate) fn dependencies_of<'a>(state: &'a State, job: &Job) -> Vec<&'a Job> {
    let stages = state.pipelines.get(&job.pipeline_id).map(|pipeline| pipeline.stages.as_slice());
    let index = |stage: &String| stages.unwrap_or_default().iter().position(|known| known == stage);
    let current = state.jobs_of(job.pipeline_id).filter(|other| !other.retried && other.id != job.id);
    let wanted = |other: &&Job| match (&job.spec.dependencies, &job.spec.needs) {
        (Some(names), _) => names.contains(&other.spec.name),
        (None, Some(needs)) => needs.iter().any(|need: &Need| need.artifacts && need.job == other.spec.name),
        (None, None) => index(&other.spec.stage) < index(&job.spec.stage),
    };
    current.filter(wanted).collect()
}

fn job_info(state: &State, job: &Job, runner: &Runner, project: &Project) -> Value {
    let waited = job.queued_at.map_or(0.0, |queued| seconds_between(queued, state.now()));
    let queue = state.jobs.values().filter(|other| can_take(state, runner, other));
    json!({
        "id": job.id,
        "name": job.spec.name,
        "stage": job.spec.stage,
        "pipeline_id": job.pipeline_id,
        "project_id": project.id,
        "project_name": project.path,
        "project_full_path": project.full_path,
        "namespace_id": project.group_id,
        "root_namespace_id": state.group_with_ancestors(project.group_id).last().map(|group| group.id),
        "organization_id": 1,
        "instance_id": "stand-in",
        "instance_uuid": "0b9f7e0e-1111-4222-8333-444455556666",
        "user_id": job.user_id,
        "time_in_queue_seconds": waited.round(),
        "project_jobs_running_on_instance_runners_count": "0",
        "queue_size": queue.count(),
        "queue_depth": 1,
    })
}

fn git_info(state: &State, job: &Job, pipeline: &Pipeline, project: &Project) -> Value {
    let reference = &pipeline.reference;
    let depth = job.spec.variables.iter().rev().find(|variable| variable.key == "GIT_DEPTH");
    let named = if pipeline.tag {
        format!("+refs/tags/{reference}:refs/tags/{reference}")
    } else {
        format!("+refs/heads/{reference}:refs/remotes/origin/{reference}")
    };
    json!({
        "repo_url": repository_url(state, job, project),
        "repo_object_format": "sha1",
        "ref": reference,
        "sha": pipeline.commit.sha,
        "before_sha": pipeline.commit.before_sha,
        "ref_type": if pipeline.tag { "tag" } else { "branch" },
        "refspecs": [format!("+refs/pipelines/{0}:refs/pipelines/{0}", pipeline.id), named],
        "depth": depth.and_then(|variable| variable.value.parse().ok()).unwrap_or(20),
        "protected": job.protected,
    })
}

fn steps(spec: &JobSpec, timeout: i64) -> Value {
    let mut steps = vec![json!({
        "name": "script",
        "script": spec.script,
        "timeout": timeout,
        "when": "on_success",
        "allow_failure": false,
    })];
    if let Some(command) = &spec.release {
        steps.push(json!({
            "name": "release",
            "script": [command],
            "timeout": timeout,
            "when": "on_success",
            "allow_failure": false,
        }));
    }
    if !spec.after_script.is_empty() {
        steps.push(json!({
            "name": "after_script",
            "script": spec.after_script,
            "timeout": timeout,
            "when": "always",
            "allow_failure": true,
        }));
    }
    Value::Array(steps)
}

fn hooks(spec: &JobSpec) -> Value {
    if spec.pre_get_sources.is_empty() {
        return json!([]);
    }
    json!([{ "name": "pre_get_sources_script", "script": spec.pre_get_sources }])
}

fn image(image: &ImageSpec) -> Value {
    let docker: serde_json::Map<_, _> =
        image.docker.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    json!({
        "name": image.name,
        "entrypoint": image.entrypoint,
        "ports": [],
        "pull_policy": if image.pull_policy.is_empty() { Value::Null } else { json!(image.pull_policy) },
        "executor_opts": if docker.is_empty() { json!({}) } else { json!({ "docker": docker }) },
    })
}

fn service(service: &ServiceSpec) -> Value {
    let mut value = image(&service.image);
    value["alias"] = json!(service.alias);
    value["command"] = json!(service.command);
    value["variables"] = json!(service.variables);
    value
}

fn artifact(artifact: &ArtifactSpec) -> Value {
    json!({
        "name": artifact.name,
        "untracked": artifact.untracked,
        "paths": artifact.paths,
        "exclude": artifact.exclude,
        "when": artifact.when,
        "expire_in": artifact.expire_in,
        "artifact_type": artifact.kind,
        "artifact_format": artifact.format,
    })
}

/// Keys end in the kind of ref: GitLab keeps the caches of protected refs apart by default.
fn cache(cache: &CacheSpec, suffix: &str) -> Value {
    let fallback: Vec<String> = cache.fallback_keys.iter().map(|key| format!("{key}-{suffix}")).collect();
    json!({
        "key": format!("{}-{suffix}", cache.key.text()),
        "untracked": cache.untracked,
        "paths": cache.paths,
        "policy": cache.policy,
        "when": cache.when,
        "fallback_keys": fallback,
    })
}

fn credentials(state: &State, job: &Job) -> Value {
    let entry = |registry: &String| json!({ "type": "registry", "url": registry, "username": "gitlab-ci-token", "password": job.token });
    Value::Array(state.settings.registry.iter().map(entry).collect())
}

fn dependencies(state: &State, job: &Job) -> Value {
    let entry = |other: &Job| {
        let mut value = json!({ "id": other.id, "name": other.spec.name, "token": job.token });
        if let Some(archive) = other.archive() {
            value["artifacts_file"] = json!({ "filename": archive.filename, "size": archive.content.len() });
        }
        value
    };
    dependencies_of(state, job).into_iter().map(entry).collect()
}
