//! Ticks of the launcher while the pipeline runs, and the logs as they come.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::demo::Interrupt;
use crate::expected::{Expected, JOBS};
use crate::failure::DemoError;
use crate::gitlab::{GitLab, Job};
use crate::joblog::readable;
use crate::site::Site;

/// Between two looks at GitLab.
const LOOK: Duration = Duration::from_millis(250);

/// Between two ticks. cron would take a minute.
const TICK: Duration = Duration::from_secs(2);

/// The first pull of an image over a slow line is most of it.
const LIMIT_MINUTES: u64 = 15;

/// Follows the pipeline until every job has ended that can end, and gives the jobs.
pub(crate) fn follow(
    gitlab: &GitLab,
    site: &Site,
    pipeline: i64,
    interrupt: &Interrupt,
) -> Result<Vec<Job>, DemoError> {
    let began = Instant::now();
    let mut next_tick = began;
    let mut shown = HashMap::new();
    loop {
        interrupt.check()?;
        if Instant::now() >= next_tick {
            site.front("run-single")?;
            next_tick = Instant::now() + TICK;
        }
        let jobs = gitlab.jobs(pipeline)?;
        for job in &jobs {
            show(job, shown.entry(job.id).or_default());
        }
        if jobs.iter().all(is_settled) {
            return Ok(jobs);
        }
        if began.elapsed().as_secs() > LIMIT_MINUTES * 60 {
            return Err(DemoError::TooSlow { minutes: LIMIT_MINUTES, url: gitlab.url().to_owned() });
        }
        sleep(LOOK);
    }
}

/// Prints the lines of the log that are complete and new; `done` is how much of it was printed, in bytes.
fn show(job: &Job, done: &mut usize) {
    let new = job.log.get(*done..).unwrap_or_default();
    let complete = if has_ended(job) { new.len() } else { new.rfind('\n').map_or(0, |end| end + 1) };
    for line in new[..complete].lines().map(readable).filter(|line| !line.is_empty()) {
        println!("{:>10} | {line}", job.name);
    }
    *done += complete;
}

/// Nothing more will happen to it.
fn is_settled(job: &Job) -> bool {
    let stays = JOBS.contains(&(job.name.as_str(), Expected::Stuck));
    has_ended(job) || (stays && job.status == "pending")
}

fn has_ended(job: &Job) -> bool {
    ["success", "failed", "canceled", "skipped"].contains(&job.status.as_str())
}
