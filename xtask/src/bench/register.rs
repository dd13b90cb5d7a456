//! `bench register`: many instances, and a GitLab that takes 20 ms for each request.

use super::Report;
use crate::failure::Result;
use crate::process;
use crate::workspace::{cargo, target};
use plain_table::Table;
use std::process::Command;

pub(super) fn measure() -> Result<Vec<Report>> {
    process::run(cargo().args(["build", "--release", "--package", "meta-register"]))?;
    process::run(cargo().args(["build", "--package", "end-to-end", "--bin", "bench-register"]))?;
    let mut bench = Command::new(target().join("debug/bench-register"));
    let output = process::run(bench.env("META_RUNNER_PROGRAMS", target().join("release")))?;
    let mut table = Table::new(["run", "s", "allowed", "requests", "MB", "allowed"]);
    let mut missed = Vec::new();
    for line in output.lines() {
        let row: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let number =
            |column: usize| row.get(column).and_then(|cell| cell.parse::<f64>().ok()).unwrap_or(f64::NAN);
        for (value, most) in [(1, 2), (4, 5)] {
            // Whatever is no number is no success.
            if number(value).partial_cmp(&number(most)).is_none_or(std::cmp::Ordering::is_gt) {
                missed.push(format!("{}: {} of {} allowed", row[0], row[value], row[most]));
            }
        }
        table.row(row);
    }
    let title =
        "meta-register, 200 instances, 20 ms for each request (time; largest resident size)".to_owned();
    Ok(vec![Report { title, table, missed }])
}
