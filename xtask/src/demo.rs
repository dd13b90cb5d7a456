//! `cargo xtask demo`: everything that the demo needs, then the demo itself (`tests/demo`).

use crate::bed::Handle;
use crate::failure::Result;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::workspace::{cargo, target};
use clap::Args;
use std::process::{Command, ExitCode};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// With the Apptainer and the batch system (or none) of this machine: no root, no bed.
    #[arg(long)]
    host: bool,
    /// Further arguments of the demo program, after `--`; `-- --help` lists them.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let interrupt = Interrupt::watch()?;
    let progress = Progress::begin("demo");
    if arguments.host {
        build(&interrupt, &progress)?;
        return interrupt.run(on_host().args(&arguments.arguments));
    }
    let bed = Handle::new()?;
    let was_up = bed.is_up();
    build(&interrupt, &progress)?;
    let outcome = bed.up(&interrupt).and_then(|()| interrupt.run(in_bed(&bed).args(&arguments.arguments)));
    if was_up {
        progress.step("the bed stays up, as it was before");
    } else {
        bed.down()?;
    }
    outcome
}

fn build(interrupt: &Interrupt, progress: &Progress) -> Result<()> {
    progress.step("building our programs and the stand-ins");
    interrupt.require(cargo().args(["build", "--workspace", "--bins", "--locked"]))
}

/// The images are in the bed's registry, the nodes see `/scratch`.
fn in_bed(bed: &Handle) -> Command {
    let mut command = bed.exec();
    command.args(["--", "/opt/target/debug/demo", "--directory", "/scratch", "--registry", "127.0.0.1:5000"]);
    command
}

fn on_host() -> Command {
    let mut command = Command::new(target().join("debug/demo"));
    command.arg("--directory").arg(target().join("demo"));
    command
}
