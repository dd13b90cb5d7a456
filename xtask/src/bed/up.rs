//! `bed up`: makes and starts the bed.

use super::{bootstrap, configure, down, holder, images, install, kernel, state, status};
use crate::failure::{During, Result};
use crate::process;
use crate::progress::Progress;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long the daemons may take; a second is usual.
const START: Duration = Duration::from_secs(30);

/// Answers 0 when munge, both halves of Slurm and the registry work.
const IS_READY: &str = "munge -n | unmunge >/dev/null \
    && sinfo --noheader --format %T | grep -qE '^(idle|mixed|allocated|completing)' \
    && curl --silent --fail --output /dev/null http://127.0.0.1:5000/v2/";

pub(super) fn run() -> Result<ExitCode> {
    let progress = Progress::begin("bed");
    install::ensure(&progress)?;
    kernel::ensure()?;
    let _lock = state::lock()?;
    if let Some(holder) = state::running() {
        let dead = status::dead_daemons(holder);
        if dead.is_empty() {
            if !bootstrap::is_current() {
                progress.step("it runs, but from an older recipe: `bed down` and `bed up` renew it");
            }
            images::ensure(&progress)?;
            progress.step("runs already");
            return Ok(ExitCode::SUCCESS);
        }
        progress.step(format!("{} died: starting anew", dead.join(", ")));
        down::stop()?;
    }
    bootstrap::ensure(&progress)?;
    configure::write()?;
    progress.step("starting munge, Slurm and the registry");
    holder::start()?;
    wait_until_ready()?;
    images::ensure(&progress)?;
    progress.step("runs: `cargo xtask bed exec` is a shell on its login node");
    Ok(ExitCode::SUCCESS)
}

/// Runs a command as root in the bed; its stdout.
pub(super) fn inside(command: &[&str]) -> Result<String> {
    process::run(enter()?.args(command))
}

fn enter() -> Result<Command> {
    let program = std::env::current_exe().during(|| "find this program".to_owned())?;
    let mut enter = Command::new(program);
    enter.args(["bed", "exec", "--root", "--cwd", "/", "--"]);
    Ok(enter)
}

fn wait_until_ready() -> Result<()> {
    let began = Instant::now();
    loop {
        if state::running().is_none() {
            return Err(holder::last_words("the bed ended while it started"));
        }
        let answer = process::try_run(enter()?.args(["sh", "-c", IS_READY]))?;
        if answer.status.success() {
            return Ok(());
        }
        if began.elapsed() > START {
            let words = process::tail(&String::from_utf8_lossy(&answer.stderr));
            return Err(holder::last_words(&format!("the cluster is not ready: {}", words.join("; "))));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
