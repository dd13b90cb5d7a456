//! `bench executor`: what a job costs beside its own scripts.

use super::{Report, in_bed};
use crate::failure::Result;
use plain_table::Table;

const MOST_MS: f64 = 150.0;
/// Of what `apptainer exec` of a SIF costs per stage.
const MOST_OF_APPTAINER: f64 = 0.2;

pub(super) fn measure() -> Result<Vec<Report>> {
    Ok(vec![trivial_job()?])
}

/// A job that does nothing, with its image on the node.
fn trivial_job() -> Result<Report> {
    let rows = in_bed::rows("bench-executor", &[])?;
    let mut table = Table::new(["call", "ours", "bash", "apptainer exec", "podman run"]);
    let mut sums = [0.0; 4];
    for row in rows {
        for (sum, cell) in sums.iter_mut().zip(&row[1..]) {
            *sum += cell.parse::<f64>().unwrap_or_default();
        }
        table.row(row);
    }
    let [ours, bash, apptainer, podman] = sums;
    let over = [ours, apptainer, podman].map(|sum| sum - bash);
    table.row(["all".to_owned()].into_iter().chain(sums.map(|sum| format!("{sum:.1}"))));
    let [over_ours, over_apptainer, over_podman] = over.map(|over| format!("{over:.1}"));
    table.row(["over bash", &over_ours, "", &over_apptainer, &over_podman]);
    let mut missed = Vec::new();
    if over[0] > MOST_MS {
        missed.push(format!("{:.0} ms over bash, {MOST_MS} are allowed", over[0]));
    }
    if over[0] > over[1] * MOST_OF_APPTAINER {
        let share = over[0] / over[1];
        missed.push(format!("{share:.2} of what `apptainer exec` takes, {MOST_OF_APPTAINER} are allowed"));
    }
    Ok(Report {
        title: "A trivial job with its image on the node: ms per call (median of 15)".to_owned(),
        table,
        missed,
    })
}
