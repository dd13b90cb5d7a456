//! The launcher on a bad day, with a real Slurm: groups, kills at odd moments, answers of GitLab's that are no jobs. Each job
//! runs once, and nothing stays in the queue.

use std::thread::sleep;
use std::time::Duration;

use end_to_end::launching::Launching;
use end_to_end::processes::wait_until;
use end_to_end::slurm::Slurm;
use serde_json::json;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("launcher: groups of jobs, and ticks killed at any moment", groups_and_kills),
    ("launcher: 409, 204 and 500 in place of jobs", other_answers),
    ("launcher: jobs cancelled while their launches run", cancelled_meanwhile),
];

/// Wide: a safety limit, not a measurement.
const LIMIT: Duration = Duration::from_secs(300);

const SBATCH: &str = "executable = \"sbatch\"\nargs = [\"--output=$SITE/logs/%A_%a.log\"]";

fn groups_and_kills() {
    let slurm = Slurm::start(8);
    // A submission whose launcher was killed is looked for during this time and a minute before it is made again.
    let launch = format!("{SBATCH}\ngroup_size = 3\ntimeout = 10");
    let site = Launching::new(&launch, &[slurm.environment()]);
    let mut jobs = Vec::new();
    // From before the first request to behind the last write.
    for round in 0..25 {
        if round % 2 == 0 {
            jobs.extend(site.jobs(4, "sleep 0.3"));
        }
        let mut tick = site.launcher(&["once"]).spawn().expect("the launcher starts");
        sleep(Duration::from_millis(5 + round * 7));
        let _ = tick.kill();
        tick.wait().expect("it is our child");
    }
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
    nothing_is_left(&slurm, &site);
    let allocations = slurm.allocations().len();
    println!("groups of three and kills: {} jobs in {allocations} allocations", jobs.len());
    assert!(allocations <= jobs.len(), "more allocations than without groups");
}

fn other_answers() {
    let slurm = Slurm::start(8);
    let site = Launching::new(SBATCH, &[slurm.environment()]);
    for _ in 0..10 {
        for (status, skip) in [(409, 2), (204, 3), (500, 5)] {
            let answer = json!({ "status": { "status": status, "body": { "message": status.to_string() } } });
            let fault =
                json!({ "route": "POST /api/v4/jobs/request", "times": 1, "skip": skip, "answer": answer });
            site.gitlab.add_fault(fault);
        }
    }
    let jobs = site.jobs(50, "true");
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
    nothing_is_left(&slurm, &site);
    // `--wait-timeout` bears each of them.
    assert_eq!(site.wasted("409, 204 and 500", slurm.allocations().len()), 0);
}

fn cancelled_meanwhile() {
    let slurm = Slurm::start(4);
    let site = Launching::new(&format!("{SBATCH}\ngroup_size = 2"), &[slurm.environment()]);
    let jobs = site.jobs(30, "sleep 1");
    for round in 0..4 {
        site.tick();
        sleep(Duration::from_millis(700));
        let is_open =
            |job: &&i64| ["pending", "running"].map(Into::into).contains(&site.gitlab.job(**job)["status"]);
        for &job in jobs.iter().skip(round).step_by(7).filter(is_open) {
            site.gitlab.cancel_job(job, false);
        }
    }
    site.tick_until_done(&jobs, LIMIT);
    let ran = site.ran();
    for job in jobs {
        let status = site.gitlab.job(job)["status"].clone();
        let times = ran.get(&job).copied().unwrap_or(0);
        assert!(times == 1 || (times == 0 && status != "success"), "{job}: {status}, ran {times} times");
    }
    nothing_is_left(&slurm, &site);
}

/// What is queued for nobody is taken out of the queue, what runs for nobody ends.
fn nothing_is_left(slurm: &Slurm, site: &Launching) {
    wait_until("the queue is empty", LIMIT, || {
        site.tick();
        slurm.run("squeue", &["--noheader"]).is_empty()
    });
}
