//! What GitLab does to jobs by the clock. Ages and reasons: GitLab `stuck_builds/*`; neither limit can be configured.

use crate::clock::{Time, seconds};
use crate::lifecycle::finish;
use crate::matching::is_stuck;
use crate::model::{Job, State, Status};

const HOUR: i64 = 3600;

/// Moves the clock by `by` seconds, and lets everything happen at its time on the way.
pub(crate) fn advance(state: &mut State, by: i64) {
    let target = state.now() + seconds(by.max(0));
    while let Some(event) = next_event(state).filter(|event| *event <= target) {
        let gap = event.duration_since(state.now());
        state.clock.advance(gap);
        run_due(state);
    }
    let rest = target.duration_since(state.now());
    state.clock.advance(rest);
}

/// Does what is due at the current time.
pub(crate) fn run_due(state: &mut State) {
    let now = state.now();
    let expired: Vec<i64> =
        ids(state, |job| job.is_claimed() && job.claim_ends.is_some_and(|end| end <= now));
    for id in expired {
        finish(state, id, Status::Failed, Some("runner_provisioning_timeout"));
    }
    while next_sweep(state) <= now {
        state.sweeps_done += 1;
        sweep(state);
    }
}

/// Ends every job that has waited, run or been cancelled for too long. GitLab runs this hourly, so that a job that may
/// wait one hour ends after one to two.
pub(crate) fn sweep(state: &mut State) {
    let now = state.now();
    let older = |time: Time, hours: i64| time <= now - seconds(hours * HOUR);
    let stuck = ids(state, |job| {
        job.runner_id.is_none()
            && job.queued_at.is_some_and(|queued| older(queued, 1))
            && is_stuck(state, job, now)
    });
    for id in stuck {
        finish(state, id, Status::Failed, Some("stuck_pending_no_matching_runners"));
    }
    let old = ids(state, |job| {
        job.status == Status::Pending && older(job.created_at, 24) && older(job.updated_at, 24)
    });
    for id in old {
        finish(state, id, Status::Failed, Some("stuck_pending_with_matching_runners"));
    }
    for id in ids(state, |job| job.status == Status::Running && older(job.updated_at, 1)) {
        finish(state, id, Status::Failed, Some("stuck_or_timeout_failure"));
    }
    for id in ids(state, |job| job.status == Status::Canceling && older(job.updated_at, 1)) {
        finish(state, id, Status::Canceled, Some("server_timeout_canceling"));
    }
}

fn ids(state: &State, wanted: impl Fn(&Job) -> bool) -> Vec<i64> {
    state.jobs.values().filter(|job| wanted(job)).map(|job| job.id).collect()
}

fn next_sweep(state: &State) -> Time {
    state.started + seconds((state.sweeps_done + 1) * HOUR)
}

fn next_event(state: &State) -> Option<Time> {
    let claims = state.jobs.values().filter(|job| job.is_claimed()).filter_map(|job| job.claim_ends);
    claims.chain(std::iter::once(next_sweep(state))).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{job_of, project_of, runner_of, server};

    /// A server with one job whose runner is online now.
    fn with_online_runner() -> (State, i64, i64) {
        let mut state = server();
        project_of(&mut state, "hpc/solver");
        let runner = runner_of(&mut state, json!({ "path": "hpc/solver", "run_untagged": true }));
        let now = state.now();
        state.runners.get_mut(&runner).unwrap().heartbeat(now);
        let job = job_of(&mut state, "hpc/solver", "main", json!({}));
        (state, runner, job)
    }

    #[test]
    fn one_contact_lasts_two_hours() {
        let (mut state, _, job) = with_online_runner();
        advance(&mut state, 2 * HOUR - 1);
        assert_eq!(state.jobs[&job].status, Status::Pending);
        advance(&mut state, 1);
        assert_eq!(state.jobs[&job].failure_reason.as_deref(), Some("stuck_pending_no_matching_runners"));
    }

    #[test]
    fn the_stored_contact_lags_behind() {
        let (mut state, runner, _) = with_online_runner();
        advance(&mut state, 54 * 60);
        let (now, contacted) = (state.now(), state.runners.get_mut(&runner).unwrap());
        contacted.heartbeat(now);
        assert_eq!(contacted.contacted_at, Some(now));
        assert_eq!(contacted.stored_contact, Some(now - seconds(54 * 60)));
    }

    #[test]
    fn a_silent_running_job_fails_and_a_silent_canceling_one_is_canceled() {
        let (mut state, _, job) = with_online_runner();
        state.jobs.get_mut(&job).unwrap().status = Status::Running;
        advance(&mut state, HOUR);
        assert_eq!(state.jobs[&job].failure_reason.as_deref(), Some("stuck_or_timeout_failure"));
        let other = job_of(&mut state, "hpc/solver", "main", json!({}));
        state.jobs.get_mut(&other).unwrap().status = Status::Canceling;
        advance(&mut state, HOUR);
        let other = &state.jobs[&other];
        assert_eq!(
            (other.status, other.failure_reason.as_deref()),
            (Status::Canceled, Some("server_timeout_canceling"))
        );
    }
}
