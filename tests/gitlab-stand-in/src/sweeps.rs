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
