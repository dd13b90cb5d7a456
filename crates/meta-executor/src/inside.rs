//! The commands that the driver gives to itself inside a pod. Their arguments come from the driver, never from a user.

use std::io::Write;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use meta_host::files::write_private;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::close;

use crate::failure::chain;
use crate::holder::{guard, keeper};
use crate::image::census::Census;
use crate::image::own_command::{BROKEN_IMAGE, FULL_DISK};
use crate::image::unpack::{UnpackError, unpack};
use crate::pod::outer::{self, Nesting, ServiceNetwork};
use crate::pod::{entering, init};
use crate::removal;
use crate::state::Owner;

/// Runs `words` if they are such a command.
pub(crate) fn main(words: &[String]) -> Option<ExitCode> {
    let rest = words.get(2..).unwrap_or_default();
    match (words.get(1)?.as_str(), rest) {
        ("pod-outer", [control, reports]) => outer_process(&Nesting::Alone, control, reports),
        ("pod-join", [keeper, control, reports]) => {
            outer_process(&Nesting::WithHolder(keeper.parse().ok()?), control, reports)
        }
        ("service-outer", [control, reports]) => outer_process(&Nesting::InHolder(None), control, reports),
        ("service-outer", [ip, address, control, reports]) => {
            let network = ServiceNetwork { ip: ip.into(), address: address.parse().ok()? };
            outer_process(&Nesting::InHolder(Some(network)), control, reports)
        }
        ("holder-guard", [pid, started, control, reports]) => {
            let runner = Owner { pid: pid.parse().ok()?, started: started.parse().ok()? };
            let control = inherited(control, OFlag::O_RDONLY)?;
            Some(guard::main(&runner, control, inherited(reports, OFlag::O_WRONLY)?))
        }
        ("holder-keeper", [control, reports, lifeline]) => Some(keeper::main(
            inherited(control, OFlag::O_RDONLY)?,
            inherited(reports, OFlag::O_WRONLY)?,
            inherited(lifeline, OFlag::O_RDONLY)?,
        )),
        ("pod-init", [control, reports]) => {
            Some(init::main(inherited(control, OFlag::O_RDONLY)?, inherited(reports, OFlag::O_WRONLY)?))
        }
        ("enter-container", [made, entering]) => {
            let entering = serde_json::from_str(entering).ok()?;
            Some(entering::main(inherited(made, OFlag::O_RDONLY)?, &entering))
        }
        ("unpack", [rootfs, layers @ ..]) => {
            let layers: Vec<PathBuf> = layers.iter().map(PathBuf::from).collect();
            Some(
                unpack(&layers, Path::new(rootfs))
                    .map_or_else(|error| unpack_failure(&error), |()| ExitCode::SUCCESS),
            )
        }
        ("census", [tree, answer]) => Some(finish(census(Path::new(tree), Path::new(answer)))),
        ("remove", trees) => Some(finish(removal::main(trees))),
        _ => None,
    }
}

fn unpack_failure(error: &UnpackError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", chain(error));
    match error {
        error if error.is_full_disk() => ExitCode::from(FULL_DISK),
        error if error.is_the_images() => ExitCode::from(BROKEN_IMAGE),
        _ => ExitCode::FAILURE,
    }
}

fn census(tree: &Path, answer: &Path) -> Result<(), String> {
    let census = Census::of(tree)
        .map_err(|error| format!("cannot count the files of `{}`: {error}", tree.display()))?;
    let text = serde_json::to_string(&census).expect("a census has only numbers");
    write_private(answer, text.as_bytes()).map_err(|error| chain(&error))
}

fn outer_process(nesting: &Nesting, control: &str, reports: &str) -> Option<ExitCode> {
    Some(outer::main(nesting, inherited(control, OFlag::O_RDONLY)?, inherited(reports, OFlag::O_WRONLY)?))
}

fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // The driver says what failed; this line says why.
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

/// The pipe that was inherited under this number. It is opened anew, because only a descriptor that we opened is ours.
fn inherited(number: &str, flags: OFlag) -> Option<OwnedFd> {
    let number: RawFd = number.parse().ok()?;
    let path = format!("/proc/self/fd/{number}");
    let pipe = open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    close(number).ok()?;
    Some(pipe)
}
