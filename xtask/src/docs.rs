//! `cargo xtask docs`: manual pages and shell completions, from the programs' own command lines (`xtask/manual`).

use crate::failure::Result;
use crate::process;
use crate::workspace::{cargo, target};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Prints the folder that they are in.
pub(crate) fn run() -> Result<ExitCode> {
    let share = target().join("docs/share");
    process::run(&mut writer(&share))?;
    println!("{}", share.display());
    Ok(ExitCode::SUCCESS)
}

/// What writes them below `share`.
pub(crate) fn writer(share: &Path) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", "manual", "--"]).arg(share);
    command
}
