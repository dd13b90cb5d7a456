//! `bench executor`: what a job costs beside its own scripts.

use super::{Report, in_bed};
use crate::failure::Result;
use plain_table::Table;

const MOST_MS: f64 = 150.0;
/// Of what `apptainer exec` of a SIF costs per stage.
const MOST_OF_APPTAINER: f64 = 0.2;

const COLUMNS: [&str; 6] =
    ["call", "ours", "bash", "unshare(1) and Apptainer alone", "apptainer exec", "podman run"];

pub(super) fn measure() -> Result<Vec<Report>> {
    let calls = in_bed::rows("bench-executor", &[])?;
    let over = over_bash(&calls);
    Ok(vec![trivial_job(calls, over), limits(over)])
}

/// ms of all calls over those of bash, a number for each column.
fn over_bash(calls: &[Vec<String>]) -> [f64; 5] {
    let mut sums = [0.0; 5];
    for call in calls {
        for (sum, cell) in sums.iter_mut().zip(&call[1..]) {
            // Whatever is no number is no success.
            *sum += cell.parse::<f64>().unwrap_or(f64::NAN);
        }
    }
    sums.map(|sum| sum - sums[1])
}

/// A job that does nothing, with its image on the node.
fn trivial_job(calls: Vec<Vec<String>>, over: [f64; 5]) -> Report {
    let mut table = Table::new(COLUMNS);
    for call in calls {
        table.row(call);
    }
    table.row(["all, over bash".to_owned()].into_iter().chain(over.map(|ms| format!("{ms:.1}"))));
    let title = "A trivial job with its image on the node: ms per call (median of 15)".to_owned();
    Report { title, table, missed: Vec::new() }
}

fn limits([ours, _, alone, apptainer, _]: [f64; 5]) -> Report {
    let mut table = Table::new(["limit", "figure", "allowed", "the parts alone"]);
    let mut missed = Vec::new();
    for (limit, figure, most, least) in [
        ("ms over bash", ours, MOST_MS, alone),
        ("part of `apptainer exec` per stage", ours / apptainer, MOST_OF_APPTAINER, alone / apptainer),
    ] {
        if figure.partial_cmp(&most).is_none_or(std::cmp::Ordering::is_gt) {
            missed
                .push(format!("{limit}: {figure:.2}, {most} is allowed, and {least:.2} are the parts alone"));
        }
        table.row([limit.to_owned(), format!("{figure:.2}"), most.to_string(), format!("{least:.2}")]);
    }
    Report { title: "What it may cost".to_owned(), table, missed }
}
