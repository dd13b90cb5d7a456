//! `bench size`: the shipped programs on disk, the time to build them from nothing, and `meta-executor` as a process.

use super::{Report, in_bed};
use crate::failure::{During, Result};
use crate::process;
use crate::workspace::{PROGRAMS, cargo, target};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use plain_table::Table;
use std::fs;
use std::path::Path;
use std::time::Instant;

const MOST_MB: f64 = 18.0;
const MOST_BUILD_SECONDS: f64 = 90.0;
const MOST_MS_OVER_TRUE: f64 = 2.0;
const MOST_MB_OVER_TRUE: f64 = 8.0;

/// The row of `bench-size` that stands before what it is the least time of (decision 0016).
const ALONE: &str = "unshare(1) and bash alone";

pub(super) fn measure() -> Result<Vec<Report>> {
    let build = build_from_nothing()?;
    Ok(vec![programs(&build)?, executor()?])
}

/// How long a build took, in seconds. On a machine that has other things to do the second figure tells more.
struct Build {
    wall: f64,
    cpu: f64,
}

/// A release build in an empty target folder, which stays for the sizes.
fn build_from_nothing() -> Result<Build> {
    let folder = target().join("bench");
    if folder.exists() {
        fs::remove_dir_all(&folder).during(|| format!("remove `{}`", folder.display()))?;
    }
    process::run(cargo().args(["fetch", "--locked"]))?;
    let (began, used) = (Instant::now(), cpu_seconds_of_children()?);
    process::run(cargo().args(["build", "--release", "--locked", "--offline", "--target-dir"]).arg(&folder))?;
    Ok(Build { wall: began.elapsed().as_secs_f64(), cpu: cpu_seconds_of_children()? - used })
}

/// Of all programs that this one has started and waited for, and of theirs.
fn cpu_seconds_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).during(|| "read the used CPU time".to_owned())?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn programs(build: &Build) -> Result<Report> {
    let folder = target().join("bench/release");
    let mut table = Table::new(["program", "MB"]);
    let mut sum = 0.0;
    for program in PROGRAMS {
        let size = megabytes(&folder.join(program))?;
        sum += size;
        table.row([(*program).to_owned(), format!("{size:.2}")]);
    }
    table.row(["all".to_owned(), format!("{sum:.2}")]);
    let mut missed = Vec::new();
    if sum > MOST_MB {
        missed.push(format!("{sum:.1} MB of programs, {MOST_MB} are allowed"));
    }
    if build.wall > MOST_BUILD_SECONDS {
        missed.push(format!("a build of {:.0} s, {MOST_BUILD_SECONDS} are allowed", build.wall));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let title = format!(
        "Shipped programs, stripped; built from nothing in {:.1} s ({:.1} s of CPU time) on {cores} cores",
        build.wall, build.cpu
    );
    Ok(Report { title, table, missed })
}

fn executor() -> Result<Report> {
    let mut table = Table::new(["process", "ms", "over true", "MB", "over true"]);
    let mut missed = Vec::new();
    // What the processes take that a stage cannot do without.
    let mut least_ms = 0.0;
    for row in in_bed::rows("bench-size", &[])? {
        let over = |column: usize| row.get(column).and_then(|cell| cell.parse().ok()).unwrap_or(f64::NAN);
        let (ms, mb): (f64, f64) = (over(2), over(4));
        if row[0] == ALONE {
            least_ms = ms;
        } else if !(ms <= least_ms + MOST_MS_OVER_TRUE && mb <= MOST_MB_OVER_TRUE) {
            let most_ms = least_ms + MOST_MS_OVER_TRUE;
            missed.push(format!(
                "{}: {ms:.2} ms and {mb:.1} MB over /bin/true, {most_ms:.2} and {MOST_MB_OVER_TRUE} are allowed",
                row[0]
            ));
        }
        table.row(row);
    }
    let title = format!(
        "meta-executor as a process (median of 101, largest resident size); {MOST_MS_OVER_TRUE} ms are allowed over \
         /bin/true, for a helper stage over {ALONE}"
    );
    Ok(Report { title, table, missed })
}

fn megabytes(path: &Path) -> Result<f64> {
    let metadata = fs::metadata(path).during(|| format!("look at `{}`", path.display()))?;
    Ok(metadata.len() as f64 / 1e6)
}
