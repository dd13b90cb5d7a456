//! `bench launcher`: a plan over many jobs, a burst, and the time from a pending job to its running script.

use super::{Report, in_bed};
use crate::failure::Result;
use crate::process;
use crate::workspace::{cargo, target};
use plain_table::Table;
use std::process::Command;

const MOST_PLAN_MS: f64 = 20.0;
const MOST_PLAN_MB: f64 = 40.0;

pub(super) fn measure() -> Result<Vec<Report>> {
    let mut table = Table::new(["what", "figure", "allowed", "note"]);
    let mut missed = Vec::new();
    let mut row = |what: &str, figure: &str, most: f64, note: &str| {
        // Whatever is no number is no success.
        if figure.parse::<f64>().unwrap_or(f64::NAN).partial_cmp(&most).is_none_or(std::cmp::Ordering::is_gt)
        {
            missed.push(format!("{what}: {figure} of {most} allowed"));
        }
        table.row([what, figure, &most.to_string(), note].map(str::to_owned));
    };
    let (milliseconds, megabytes) = plan()?;
    let note = "10,000 pending jobs of 50 projects, 200 instances; median of 20";
    row("ms for a plan", &milliseconds, MOST_PLAN_MS, note);
    row("MB at the most, facts included", &megabytes, MOST_PLAN_MB, "");
    for cells in in_bed::rows("bench-launcher", &["bed"])? {
        if let [what, figure, most, note] = cells.as_slice() {
            row(what, figure, most.parse().unwrap_or(f64::NAN), note);
        }
    }
    let title = "meta-launcher, with a Slurm of its own in the bed".to_owned();
    Ok(vec![Report { title, table, missed }])
}

/// Milliseconds and megabytes, from a program that is built as the shipped ones are.
fn plan() -> Result<(String, String)> {
    process::run(cargo().args(["build", "--release", "--package", "end-to-end", "--bin", "bench-launcher"]))?;
    let output = process::run(Command::new(target().join("release/bench-launcher")).arg("plan"))?;
    let (milliseconds, megabytes) = output.trim().split_once('\t').unwrap_or_default();
    Ok((milliseconds.to_owned(), megabytes.to_owned()))
}
