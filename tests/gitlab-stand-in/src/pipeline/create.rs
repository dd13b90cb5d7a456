//! Makes a pipeline and its jobs.

use std::sync::Arc;

use super::config::Config;
use super::order::update_pipeline;
use super::spec::{CacheKey, JobSpec, Variable};
use crate::git;
use crate::model::{Commit, Job, Pipeline, State, Status};

/// Everything that a new pipeline needs.
#[derive(Debug)]
pub(crate) struct Draft {
    /// From [`State::next_id`]: taken before, because the repository's `refs/pipelines/ID` must exist before any job.
    pub(crate) id: i64,
    pub(crate) project_id: i64,
    pub(crate) user_id: i64,
    pub(crate) reference: String,
    pub(crate) tag: bool,
    pub(crate) commit: Commit,
    pub(crate) source: String,
    pub(crate) variables: Vec<Variable>,
    pub(crate) has_repository: bool,
    pub(crate) config: Config,
}

/// Adds the pipeline, makes its jobs and starts the first ones.
pub(crate) fn create_pipeline(state: &mut State, mut draft: Draft) {
    let now = state.now();
    settle_cache_keys(state, &mut draft);
    let iid =
        state.pipelines.values().filter(|other| other.project_id == draft.project_id).count() as i64 + 1;
    let protected =
        state.projects.get(&draft.project_id).is_some_and(|project| project.protects(&draft.reference));
    let pipeline = Pipeline {
        id: draft.id,
        iid,
        project_id: draft.project_id,
        user_id: draft.user_id,
        reference: draft.reference,
        tag: draft.tag,
        commit: draft.commit,
        source: draft.source,
        status: Status::Created,
        stages: draft.config.stages,
        variables: draft.variables,
        has_repository: draft.has_repository,
        created_at: now,
        updated_at: now,
        started_at: None,
        finished_at: None,
    };
    state.pipelines.insert(draft.id, pipeline);
    for spec in draft.config.jobs {
        let user = draft.user_id;
        add_job(state, draft.project_id, draft.id, user, Arc::new(spec), protected);
    }
    update_pipeline(state, draft.id);
}

/// Keys from files are those of the pipeline's commit, and stay so when a job is tried again.
fn settle_cache_keys(state: &State, draft: &mut Draft) {
    let project = draft.has_repository.then(|| state.projects.get(&draft.project_id)).flatten();
    let repository = project.map(|project| state.repository(project));
    let last_commit = |file: &str| git::last_commit(repository.as_ref()?, &draft.commit.sha, file);
    for cache in draft.config.jobs.iter_mut().flat_map(|job| &mut job.cache) {
        cache.key = CacheKey::Text(cache.key.settled(last_commit));
    }
}

/// Adds one `created` job and returns its id.
pub(crate) fn add_job(
    state: &mut State,
    project_id: i64,
    pipeline_id: i64,
    user_id: i64,
    spec: Arc<JobSpec>,
    protected: bool,
) -> i64 {
    let (id, now) = (state.next_id(), state.now());
    let token = state.secrets.make("glcbt-64_");
    let job = Job {
        id,
        project_id,
        pipeline_id,
        user_id,
        spec,
        protected,
        token,
        status: Status::Created,
        failure_reason: None,
        exit_code: None,
        runner_id: None,
        system_id: None,
        claim_ends: None,
        features: Vec::new(),
        retried: false,
        retry_count: 0,
        created_at: now,
        updated_at: now,
        queued_at: None,
        started_at: None,
        finished_at: None,
        erased_at: None,
        trace: Vec::new(),
        reported_checksum: None,
        artifacts: Vec::new(),
        dotenv: Vec::new(),
    };
    state.jobs.insert(id, job);
    id
}
