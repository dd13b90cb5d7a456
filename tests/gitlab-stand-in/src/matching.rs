//! Which runner may take which job. Rules: GitLab `register_job_service.rb`, `runner_matcher.rb`.

use crate::clock::Time;
use crate::model::{Job, Runner, RunnerType, State, Status};

/// Whether `runner` may take `job` now. Being online is no condition: GitLab does not ask for it.
pub(crate) fn can_take(state: &State, runner: &Runner, job: &Job) -> bool {
    let waiting = job.status == Status::Pending && job.runner_id.is_none();
    waiting && serves_project(state, runner, job.project_id) && fits(runner, job)
}

/// The job that `runner` gets: the lowest id, or for an instance runner the project with the fewest running jobs first.
pub(crate) fn pick_job(state: &State, runner: &Runner) -> Option<i64> {
    let candidates = state.jobs.values().filter(|job| can_take(state, runner, job));
    let chosen = match runner.kind {
        RunnerType::InstanceType => {
            candidates.min_by_key(|job| (running_on_instance_runners(state, job.project_id), job.id))
        }
        RunnerType::GroupType | RunnerType::ProjectType => candidates.min_by_key(|job| job.id),
    };
    chosen.map(|job| job.id)
}

/// Pending, and no runner of its project that is online by the database's values could take it.
pub(crate) fn is_stuck(state: &State, job: &Job, now: Time) -> bool {
    let helps = |runner: &Runner| {
        runner.available(now) && serves_project(state, runner, job.project_id) && fits(runner, job)
    };
    job.status == Status::Pending && !state.runners.values().any(helps)
}

/// Whether the runner is assigned to the project, directly, by its group, or for the whole instance.
pub(crate) fn serves_project(state: &State, runner: &Runner, project_id: i64) -> bool {
    let Some(project) = state.projects.get(&project_id).filter(|project| project.builds_enabled) else {
        return false;
    };
    match runner.kind {
        RunnerType::ProjectType => runner.project_ids.contains(&project_id),
        RunnerType::InstanceType => project.instance_runners_enabled,
        RunnerType::GroupType => {
            let above = state.group_with_ancestors(project.group_id);
            project.group_runners_enabled && above.iter().any(|group| Some(group.id) == runner.group_id)
        }
    }
}

/// Tags and protection only.
pub(crate) fn fits(runner: &Runner, job: &Job) -> bool {
    let tags_fit = if job.spec.tags.is_empty() {
        runner.run_untagged
    } else {
        job.spec.tags.iter().all(|tag| runner.tags.contains(tag))
    };
    tags_fit && (job.protected || !runner.protected_only)
}

fn running_on_instance_runners(state: &State, project_id: i64) -> usize {
    let on_instance = |job: &&Job| {
        let runner = job.runner_id.and_then(|id| state.runners.get(&id));
        job.project_id == project_id
            && job.status == Status::Running
            && runner.is_some_and(|runner| runner.kind == RunnerType::InstanceType)
    };
    state.jobs.values().filter(on_instance).count()
}
