//! The table at the end, and what is not as expected. Pure.

use plain_table::Table;

use crate::expected::{Expected, JOBS};
use crate::gitlab::Job;
use crate::joblog::word_after;

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    job: String,
    instance: Option<String>,
    batch_id: Option<String>,
    image: Option<String>,
    queued: Option<f64>,
    duration: Option<f64>,
    result: String,
    exit_code: Option<i64>,
}

pub(crate) fn rows(jobs: &[Job]) -> Vec<Row> {
    jobs.iter().map(row).collect()
}

fn row(job: &Job) -> Row {
    let result = match &job.failure_reason {
        _ if job.is_stuck => format!("{}, stuck", job.status),
        Some(reason) => format!("{}, {reason}", job.status),
        None => job.status.clone(),
    };
    Row {
        job: job.name.clone(),
        instance: job.runner.as_deref().and_then(instance).map(str::to_owned),
        batch_id: word_after(&job.log, "Slurm job ").filter(|id| *id != "none").map(str::to_owned),
        image: image(&job.log).map(str::to_owned),
        queued: job.queued,
        duration: job.duration,
        result,
        // GitLab is told no code of a job that succeeds.
        exit_code: job.exit_code.or((job.status == "success").then_some(0)),
    }
}

/// The instance from the mark at the end of a runner's description: `... [NAME/INSTANCE]`.
fn instance(description: &str) -> Option<&str> {
    let (_, mark) = description.strip_suffix(']')?.rsplit_once('[')?;
    Some(mark.split_once('/')?.1)
}

/// From `Using docker image sha256:... for IMAGE with digest ...`.
fn image(log: &str) -> Option<&str> {
    let line = log.lines().find(|line| line.contains("Using docker image sha256:"))?;
    word_after(line, " for ")
}

pub(crate) fn table(rows: &[Row]) -> Table {
    let header =
        ["job", "instance", "Slurm id", "image", "queue wait s", "run time s", "result", "exit code"];
    let mut table = Table::new(header);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    for row in rows {
        table.row([
            row.job.clone(),
            text(&row.instance),
            text(&row.batch_id),
            text(&row.image),
            seconds(row.queued),
            seconds(row.duration),
            row.result.clone(),
            row.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
        ]);
    }
    table
}

/// A line for each job that is missing or did not end as it should.
pub(crate) fn unexpected(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, expected) in JOBS {
        match rows.iter().find(|row| row.job == *name) {
            None => lines.push(format!("{name}: not in the pipeline")),
            Some(row) if !meets(row, *expected) => {
                lines.push(format!("{name}: {}, expected is {expected}", row.result));
            }
            Some(_) => {}
        }
    }
    lines
}

fn meets(row: &Row, expected: Expected) -> bool {
    match expected {
        Expected::Stuck => row.result == "pending, stuck",
        Expected::Ends { instance, exit_code } => {
            let result = if exit_code == 0 { "success" } else { "failed, script_failure" };
            row.result == result
                && row.exit_code == Some(exit_code)
                && row.instance.as_deref() == Some(instance)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, rows, unexpected};
    use crate::expected::{Expected, JOBS};
    use crate::gitlab::Job;

    /// The jobs as they should end.
    fn good() -> Vec<Job> {
        let job = |&(name, expected): &(&str, Expected)| match expected {
            Expected::Stuck => {
                Job { name: name.to_owned(), status: "pending".to_owned(), is_stuck: true, ..Job::default() }
            }
            Expected::Ends { instance, exit_code } => Job {
                name: name.to_owned(),
                status: if exit_code == 0 { "success" } else { "failed" }.to_owned(),
                failure_reason: (exit_code != 0).then(|| "script_failure".to_owned()),
                exit_code: (exit_code != 0).then_some(exit_code),
                runner: Some(format!("demo/{instance} on the batch system [demo/{instance}]")),
                log: "Slurm job 7 on x\nUsing docker image sha256:1 for busybox:latest with digest y ...\n"
                    .to_owned(),
                ..Job::default()
            },
        };
        JOBS.iter().map(job).collect()
    }

    #[test]
    fn a_row_is_read_from_job_and_log() {
        let row = rows(&good())[4].clone();
        let expected = Row {
            job: "fails".to_owned(),
            instance: Some("large".to_owned()),
            batch_id: Some("7".to_owned()),
            image: Some("busybox:latest".to_owned()),
            result: "failed, script_failure".to_owned(),
            exit_code: Some(42),
            ..Row::default()
        };
        assert_eq!(row, expected);
    }

    #[test]
    fn good_results_are_expected() {
        assert_eq!(unexpected(&rows(&good())), Vec::<String>::new());
    }

    #[test]
    fn every_other_result_is_not() {
        let spoil: [fn(&mut Vec<Job>); 5] = [
            |jobs| drop(jobs.remove(0)),
            |jobs| jobs[4].exit_code = Some(1),
            |jobs| jobs[1].status = "failed".to_owned(),
            |jobs| jobs[6].is_stuck = false,
            |jobs| jobs[0].runner = Some("other [demo/large]".to_owned()),
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut jobs = good();
            spoil(&mut jobs);
            assert_eq!(unexpected(&rows(&jobs)).len(), 1, "case {number}");
        }
    }
}
