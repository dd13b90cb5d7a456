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
        RunnerType::Instance => {
            candidates.min_by_key(|job| (running_on_instance_runners(state, job.project_id), job.id))
        }
        RunnerType::Group | RunnerType::Project => candidates.min_by_key(|job| job.id),
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
        RunnerType::Project => runner.project_ids.contains(&project_id),
        RunnerType::Instance => project.instance_runners_enabled,
        RunnerType::Group => {
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
            && runner.is_some_and(|runner| runner.kind == RunnerType::Instance)
    };
    state.jobs.values().filter(on_instance).count()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{job_of, project_of, runner_of, server};

    /// Whether a runner gets a job on `reference`, both in `hpc/solver`.
    fn check(runner: Value, reference: &str, job: Value, expect: bool) {
        let mut state = server();
        project_of(&mut state, "hpc/solver");
        let (runner, job) =
            (runner_of(&mut state, runner.clone()), job_of(&mut state, "hpc/solver", reference, job));
        assert_eq!(pick_job(&state, &state.runners[&runner]), expect.then_some(job));
    }

    #[test]
    fn tags_of_the_job_are_a_subset_of_the_runners() {
        let runner = || json!({ "path": "hpc/solver", "tags": ["a", "b"] });
        check(runner(), "main", json!({ "tags": ["a"] }), true);
        check(runner(), "main", json!({ "tags": ["a", "c"] }), false);
        check(runner(), "main", json!({}), false);
        let untagged = || json!({ "path": "hpc/solver", "tags": ["a"], "run_untagged": true });
        check(untagged(), "main", json!({}), true);
        check(untagged(), "main", json!({ "tags": ["b"] }), false);
    }

    #[test]
    fn protected_runners_take_protected_refs_only() {
        let runner = || json!({ "path": "hpc/solver", "run_untagged": true, "protected": true });
        check(runner(), "main", json!({}), true);
        check(runner(), "topic", json!({}), false);
    }

    #[test]
    fn runners_serve_their_project_their_group_or_all() {
        let runner = |path: Value| json!({ "path": path, "run_untagged": true });
        check(runner(json!("hpc")), "main", json!({}), true);
        check(runner(json!(null)), "main", json!({}), true);
        let mut state = server();
        project_of(&mut state, "hpc/solver");
        project_of(&mut state, "other/thing");
        let elsewhere = runner_of(&mut state, runner(json!("other")));
        job_of(&mut state, "hpc/solver", "main", json!({}));
        assert_eq!(pick_job(&state, &state.runners[&elsewhere]), None);
    }

    #[test]
    fn project_runners_are_fifo_and_instance_runners_fair() {
        let mut state = server();
        project_of(&mut state, "a/busy");
        project_of(&mut state, "a/calm");
        let instance = runner_of(&mut state, json!({ "run_untagged": true }));
        let busy = runner_of(&mut state, json!({ "path": "a/busy", "run_untagged": true }));
        let first = job_of(&mut state, "a/busy", "main", json!({}));
        let second = job_of(&mut state, "a/busy", "main", json!({}));
        let third = job_of(&mut state, "a/calm", "main", json!({}));
        assert_eq!(pick_job(&state, &state.runners[&instance]), Some(first));
        let running = state.jobs.get_mut(&first).unwrap();
        running.status = Status::Running;
        running.runner_id = Some(instance);
        assert_eq!(pick_job(&state, &state.runners[&instance]), Some(third));
        assert_eq!(pick_job(&state, &state.runners[&busy]), Some(second));
    }

    #[test]
    fn a_job_is_stuck_without_an_online_runner_that_is_not_paused() {
        let mut state = server();
        project_of(&mut state, "hpc/solver");
        let runner = runner_of(&mut state, json!({ "path": "hpc/solver", "run_untagged": true }));
        let job = job_of(&mut state, "hpc/solver", "main", json!({}));
        let stuck = |state: &State| is_stuck(state, &state.jobs[&job], state.now());
        assert!(stuck(&state), "never contacted");
        let now = state.now();
        state.runners.get_mut(&runner).unwrap().heartbeat(now);
        assert!(!stuck(&state));
        state.runners.get_mut(&runner).unwrap().paused = true;
        assert!(stuck(&state), "paused is not online");
    }
}
