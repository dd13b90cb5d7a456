//! `run`: ticks until it is told to stop.

use std::time::Duration;

use meta_gitlab::{Client, session};
use meta_host::arguments::Paths;
use meta_host::{Environment, Failure as _, app, exit, random};

use crate::failure::LauncherError;
use crate::setup::Setup;
use crate::signals::{Signals, Woken};
use crate::tick::tick;
use crate::troubles::Troubles;

/// Seconds that no wait after a failure is longer than, unless GitLab asks for more.
const LONGEST_WAIT_S: u64 = 300;

/// Ticks every `poll.interval` seconds; SIGHUP reads the configuration again, SIGTERM and SIGINT end it after the action
/// at hand. Only what is wrong at the start ends it with an error: later, GitLab and the batch system may be away.
pub(crate) fn run(paths: &Paths, environment: &Environment) -> Result<u8, LauncherError> {
    let mut signals = Signals::watch().map_err(LauncherError::Signals)?;
    let (mut setup, mut gitlab) = connect(paths, environment)?;
    let mut troubles = Troubles::default();
    let mut failures = 0;
    loop {
        let mut wait = Duration::from_secs(setup.config.poll.interval_s);
        match tick(&setup, &gitlab, &mut troubles, &|| signals.stop()).failure {
            None => failures = 0,
            Some(error) => {
                failures += 1;
                wait = wait_after(&error, failures, wait);
                if error.is_refused_token() {
                    gitlab = connect_again(&setup, gitlab);
                }
            }
        }
        match signals.wait(wait) {
            Woken::InTime => {}
            Woken::Stop => return Ok(exit::DONE),
            Woken::Reload => match connect(paths, environment) {
                Ok((new_setup, new_gitlab)) => {
                    (setup, gitlab) = (new_setup, new_gitlab);
                    log::info!("the configuration was read again");
                }
                Err(error) => {
                    app::report(&error);
                    log::error!("the configuration stays as it was");
                }
            },
        }
    }
}

fn connect<'a>(paths: &'a Paths, environment: &'a Environment) -> Result<(Setup<'a>, Client), LauncherError> {
    let setup = Setup::load(paths, environment)?;
    let gitlab = session::connect(&setup.config, environment).map_err(LauncherError::Session)?;
    Ok((setup, gitlab))
}

/// The management token may have been replaced in its file since.
fn connect_again(setup: &Setup<'_>, before: Client) -> Client {
    session::connect(&setup.config, setup.environment).unwrap_or_else(|error| {
        log::debug!("the token that was refused stays in use: {}", error.report());
        before
    })
}

/// Twice as long after each failure in a row, and up to a fifth more, so that many do not come back together.
fn wait_after(error: &LauncherError, failures: u32, interval: Duration) -> Duration {
    let asked = match error {
        LauncherError::GitLab(error) => error.retry_after_s.unwrap_or(0),
        _ => 0,
    };
    let doubled = interval.as_secs().saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT_S);
    let seconds = doubled.max(interval.as_secs()).max(asked);
    Duration::from_secs(seconds).mul_f64(1.0 + random::fraction() / 5.0)
}
