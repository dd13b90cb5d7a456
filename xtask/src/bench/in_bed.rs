//! Benches that need the cluster: a program of `tests/end-to-end` that prints one row per line, cells parted by tabs.

use crate::bed::Handle;
use crate::failure::Result;
use crate::interrupt::Interrupt;
use crate::process;
use crate::workspace::cargo;

/// Runs `program` (a binary of `tests/end-to-end`) as the bed's ordinary user and gives the cells of each line that it
/// prints. What it measures are the programs as they are shipped: `end_to_end::bed::program` and PATH lead to them.
pub(super) fn rows(program: &str, arguments: &[&str]) -> Result<Vec<Vec<String>>> {
    let bed = Handle::new()?;
    process::run(cargo().args(["build", "--release"]))?;
    // Not this program: the next bench of this run would not find it any more.
    process::run(cargo().args(["build", "--workspace", "--exclude", "xtask", "--bins"]))?;
    bed.up(&Interrupt::watch()?)?;
    let mut command = bed.exec();
    for variable in [IN_BED, PROGRAMS, PATH] {
        command.args(["--env", variable]);
    }
    let output = process::run(command.arg("--").arg(format!("/opt/target/debug/{program}")).args(arguments))?;
    Ok(output.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

const IN_BED: &str = "META_RUNNER_IN_BED=1";
const PROGRAMS: &str = "META_RUNNER_PROGRAMS=/opt/target/release";
const PATH: &str = "PATH=/opt/target/release:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
