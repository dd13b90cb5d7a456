//! Jobs that wait for hours, by GitLab's clock.

use gitlab_stand_in::Options;
use serde_json::json;

use crate::sandbox::{Sandbox, silent};

const BIG: &str = "[runners.big]\ntags = [\"big\"]\n";

/// A sandbox whose GitLab has a clock that stands still.
fn frozen(poll: &str) -> Sandbox {
    let sandbox = Sandbox::with(Options { frozen_clock: true, ..Options::default() });
    sandbox.instance("big", json!({}));
    sandbox.configure(&format!("{BIG}[poll]\n{poll}\n"), "");
    sandbox
}

/// Ticks every ten minutes of so many hours.
fn pass(sandbox: &Sandbox, hours: u64) {
    for _ in 0..hours * 6 {
        assert_eq!(sandbox.once(), silent());
        sandbox.gitlab.advance(600);
        sandbox.age(600);
    }
}

#[test]
fn a_job_in_a_long_queue_dies_without_contact() {
    let sandbox = frozen("keep_alive = false");
    let job = sandbox.job("big");
    pass(&sandbox, 3);
    assert_eq!(sandbox.gitlab.job(job)["status"], "failed");
    assert_eq!(sandbox.gitlab.job(job)["failure_reason"], "stuck_pending_no_matching_runners");
}

#[test]
fn it_lives_with_contact_and_no_contact_takes_a_job() {
    let sandbox = frozen("");
    let job = sandbox.job("big");
    pass(&sandbox, 12);
    let now = sandbox.gitlab.job(job);
    assert_eq!((&now["status"], &now["runner_id"]), (&json!("pending"), &json!(null)));
    let requests = sandbox.gitlab.requests();
    let count = |route: &str| requests.iter().filter(|request| request["route"] == route).count();
    assert_eq!((count("/api/v4/jobs/request"), count("/api/v4/runners/managers")), (0, 72));
    assert_eq!(sandbox.calls("sbatch").len(), 1);
}

#[test]
fn the_end_of_a_day_in_the_queue_is_announced_once() {
    let sandbox = frozen("");
    let job = sandbox.job("big");
    pass(&sandbox, 20);
    let run = sandbox.once();
    let expected =
        format!("warning: job {job} still waits: GitLab drops it in less than 5 h (retry in GitLab then)\n");
    assert_eq!((run.code, run.stderr), (Some(0), expected));
    pass(&sandbox, 3);
}
