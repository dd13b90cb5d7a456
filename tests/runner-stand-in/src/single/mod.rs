//! `run-single`: takes jobs one after the other, until enough have come or none comes any more.

pub(crate) mod signals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::build::Build;
use crate::build::failure::Reason;
use crate::build::run::{self, Surroundings};
use crate::config::Runner;
use crate::executor::Kind;
use crate::gitlab::request::Poll;
use crate::gitlab::update::{Update, UpdateState};
use crate::gitlab::{Client, JobCredentials};
use crate::job::Job;
use crate::runner_log::{self, info};
use crate::trace::buffer::{self, Buffer};
use crate::trace::sender;
use signals::Signals;

const POLL_PAUSE: Duration = Duration::from_secs(3);
/// After a 403: nothing but time can help.
const UNHEALTHY_PAUSE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Limits {
    /// 0: no limit.
    pub(crate) max_builds: u64,
    /// Seconds; 0: no limit.
    pub(crate) wait_timeout: u64,
}

/// Runs until the limits or a signal end it. A failed job is no failure of this.
pub(crate) fn run(runner: &Runner, kind: Kind, limits: &Limits) {
    info(format!("Starting runner for {} with token {} ...", runner.url, runner.short_token()));
    let signals = signals::watch();
    let client = Client::new(runner);
    let mut last_update = String::new();
    let mut builds = 0;
    let mut last_build = Instant::now();
    while !signals.finish_wanted() {
        match client.request_job(&mut last_update) {
            Poll::Unhealthy => {
                info("Runner is not healthy!");
                signals.sleep(UNHEALTHY_PAUSE);
            }
            Poll::Nothing => signals.sleep(POLL_PAUSE),
            Poll::Job(job) => {
                if process(*job, runner, kind, &client, &signals) {
                    builds += 1;
                    last_build = Instant::now();
                }
            }
        }
        if limits.max_builds > 0 && builds >= limits.max_builds {
            info("This runner has processed its build limit, so now exiting");
            break;
        }
        // Whole seconds, so the limit has passed only in the second after it.
        if limits.wait_timeout > 0 && last_build.elapsed().as_secs() > limits.wait_timeout {
            info(format!(
                "This runner has not received a job in {} seconds, so now exiting",
                limits.wait_timeout
            ));
            break;
        }
    }
    signals.done();
}

/// Runs one job. False if GitLab took it back at once: then it doesn't count.
fn process(job: Job, runner: &Runner, kind: Kind, client: &Client, signals: &Arc<Signals>) -> bool {
    let limit = if runner.output_limit == 0 { buffer::DEFAULT_LIMIT } else { runner.output_limit * 1024 };
    let buffer = Arc::new(Buffer::new(limit));
    let credentials = JobCredentials { id: job.id, token: job.token.clone() };
    let build = Build::new(job, runner.clone(), run::early_log(&buffer));
    let debug = build.settings.debug_trace || build.settings.debug_services;
    let retries = runner.job_status_final_update_retry_limit;
    let sender =
        Arc::new(sender::start(client.clone(), credentials.clone(), Arc::clone(&buffer), debug, retries));

    let confirmed = client.update_job(&credentials, &Update::running());
    if confirmed.state == UpdateState::Abort {
        sender.finish();
        return false;
    }
    if confirmed.cancel {
        sender.fail(&Reason::JobCanceled, 0);
        return false;
    }
    let around = Surroundings { kind, signals: Arc::clone(signals), sender: Arc::clone(&sender), buffer };
    if let Err(error) = run::run(build, &around) {
        runner_log::error(format!("Failed to process build: {error}"));
    }
    true
}
