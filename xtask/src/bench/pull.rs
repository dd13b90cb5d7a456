//! The pull part of `bench executor`: a first pull beside Apptainer's and podman's, and `always` where nothing changed.

use super::{Report, in_bed};
use crate::failure::Result;
use plain_table::Table;

/// Times of `apptainer build --sandbox` and of `podman pull`.
const MOST_OF_APPTAINER: f64 = 1.2;
const MOST_OF_PODMAN: f64 = 2.0;
const MOST_OF_PODMAN_KEEPING: f64 = 2.5;
const MOST_MS_ASKING: f64 = 20.0;

pub(super) fn measure() -> Result<Vec<Report>> {
    let rows = in_bed::rows("bench-pull", &[])?;
    let (asking, pulls): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.first().is_some_and(|name| name.starts_with("always")));
    Ok(vec![first_pulls(pulls), unchanged(asking)])
}

fn first_pulls(rows: Vec<Vec<String>>) -> Report {
    let mut table = Table::new(["a 200 MB image from loopback", "ms", "of Apptainer's", "of podman's"]);
    let mut missed = Vec::new();
    for row in rows {
        let (apptainer, podman) = (number(&row, 2), number(&row, 3));
        match row[0].as_str() {
            "first pull" if apptainer > MOST_OF_APPTAINER || podman > MOST_OF_PODMAN => missed.push(format!(
                "a first pull takes {apptainer} times Apptainer's and {podman} times podman's time, {MOST_OF_APPTAINER} and {MOST_OF_PODMAN} are allowed"
            )),
            "first pull, layers kept" if podman > MOST_OF_PODMAN_KEEPING => missed.push(format!(
                "a first pull that keeps layers takes {podman} times podman's time, {MOST_OF_PODMAN_KEEPING} are allowed"
            )),
            _ => {}
        }
        table.row(row);
    }
    Report { title: "First pull (median of 3)".to_owned(), table, missed }
}

fn unchanged(rows: Vec<Vec<String>>) -> Report {
    let mut table = Table::new(["prepare", "ms", "over if-not-present", "requests"]);
    let mut missed = Vec::new();
    for row in rows {
        let (over, requests) = (number(&row, 2), number(&row, 3));
        if over > MOST_MS_ASKING || requests > 1.0 {
            missed.push(format!(
                "`always` takes {over} ms and {requests} requests, {MOST_MS_ASKING} and 1 are allowed"
            ));
        }
        table.row(row);
    }
    Report { title: "`always` with an unchanged image (median of 31)".to_owned(), table, missed }
}

fn number(row: &[String], column: usize) -> f64 {
    row.get(column).and_then(|cell| cell.parse().ok()).unwrap_or_default()
}
