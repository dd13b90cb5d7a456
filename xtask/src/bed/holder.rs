//! The process that the bed consists of.

use super::{configure, daemons, mounts, place, state};
use crate::failure::{During, Failure, Result};
use crate::process;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{sethostname, setsid};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

/// Starts a holder in the background and records it.
///
/// # Errors
/// The namespaces can't be made. What fails later is in the log, see [`last_words`].
pub(super) fn start() -> Result<()> {
    let log = File::create(place::log()).during(|| format!("create `{}`", place::log().display()))?;
    let status = own_program("hold")?
        .stdin(Stdio::null())
        .stdout(log.try_clone().during(|| "share the log".to_owned())?)
        .stderr(log)
        .status()
        .during(|| "start the holder".to_owned())?;
    if status.success() { Ok(()) } else { Err(last_words("the bed's namespaces can't be made")) }
}

/// A failure that shows the end of the log.
pub(super) fn last_words(step: &str) -> Failure {
    let log = std::fs::read(place::log()).unwrap_or_default();
    Failure::new(step)
        .with_output(process::tail(&String::from_utf8_lossy(&log)))
        .with_hint(format!("the whole log is `{}`; `cargo xtask bed up` tries again", place::log().display()))
}

/// `bed hold`: leaves the caller's session, makes the namespaces and a PID 1 in them, and is done.
pub(super) fn hold() -> Result<ExitCode> {
    setsid().during(|| "start a session".to_owned())?;
    umask(Mode::from_bits_truncate(0o022));
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .during(|| "make new namespaces".to_owned())?;
    let mut child =
        own_program("init")?.stdin(Stdio::piped()).spawn().during(|| "start the bed's PID 1".to_owned())?;
    let pid = i32::try_from(child.id()).during(|| "read the process id".to_owned())?;
    let holder = state::Holder::of(pid).ok_or_else(|| Failure::new("the bed's PID 1 ended at once"))?;
    state::record(holder)?;
    // It has waited for this: we share its mounts, and in the bed's root the host's files are out of sight.
    let mut go_ahead =
        child.stdin.take().ok_or_else(|| Failure::new("the bed's PID 1 cannot be told to begin"))?;
    go_ahead.write_all(b"g").during(|| "let the bed's PID 1 begin".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

/// `bed init`: PID 1 of the bed. Never returns, unless the bed can't be set up.
pub(super) fn init() -> Result<ExitCode> {
    std::io::stdin().read_exact(&mut [0]).during(|| "wait until the bed is recorded".to_owned())?;
    sethostname(configure::NODE).during(|| "set the host name".to_owned())?;
    mounts::enter_root()?;
    daemons::run()
}

fn own_program(task: &str) -> Result<Command> {
    let program = std::env::current_exe().during(|| "find this program".to_owned())?;
    let mut command = Command::new(program);
    command.args(["bed", task]);
    Ok(command)
}
