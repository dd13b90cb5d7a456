//! `bench services`: a job with PostgreSQL and Redis, beside the two servers alone.

use super::{Report, in_bed};
use crate::failure::Result;
use plain_table::Table;

const MOST_TIMES: f64 = 1.5;

pub(super) fn measure() -> Result<Vec<Report>> {
    let mut table = Table::new(["what", "ms", "times"]);
    let mut missed = Vec::new();
    for row in in_bed::rows("bench-services", &[])? {
        let times: f64 = row.last().and_then(|cell| cell.parse().ok()).unwrap_or(f64::INFINITY);
        if times > MOST_TIMES {
            missed.push(format!("{times:.2} times as long as the servers alone, {MOST_TIMES} are allowed"));
        }
        table.row(row);
    }
    let title =
        format!("A job with PostgreSQL and Redis, at most {MOST_TIMES} times as long as the servers alone");
    Ok(vec![Report { title, table, missed }])
}
