//! How a batch system's answers are read, by its description.

use std::ops::RangeInclusive;

use meta_core::command_line::CommandLine;
use meta_core::config::schedulers::SchedulerConfig;
use regex_lite::Captures;

use crate::facts::{QueueEntry, QueueState};

/// Tasks of an array beyond which an index is none.
const MOST_TASKS: u32 = 1_000_000;

/// Why an answer is no list of jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    /// It says something, and nothing of it is a job.
    #[error("no job in it is one by the pattern `entry`; it begins with: {0}")]
    Shape(String),
    /// An array's list of tasks has no end.
    #[error("the tasks of job {0} are cut off")]
    Tasks(String),
}

/// Reads the list of jobs. Lines of another shape between them are none of ours.
///
/// # Errors
/// An answer that cannot be the whole list: it must not be taken for an empty queue.
pub fn parse_queue(scheduler: &SchedulerConfig, text: &str) -> Result<Vec<QueueEntry>, Misread> {
    let is_heading =
        |line: &&str| scheduler.heading.as_ref().is_some_and(|found| found.regex().is_match(line));
    let mut entries = Vec::new();
    for found in scheduler.entry.regex().captures_iter(text) {
        let entry = entry(scheduler, &found);
        if entry.state != QueueState::Ended
            && found.name("tasks").is_some_and(|tasks| tasks.as_str().contains("..."))
        {
            return Err(Misread::Tasks(entry.batch_id));
        }
        entries.push(entry);
    }
    match text.lines().filter(|line| !line.trim().is_empty()).find(|line| !is_heading(line)) {
        Some(line) if entries.is_empty() => Err(Misread::Shape(line.trim().to_owned())),
        _ => Ok(entries),
    }
}

/// Reads how jobs ended that are gone from the list. A record that says that one waits or runs was never closed, as after
/// a crash of the batch system: the list counts.
pub fn parse_history(scheduler: &SchedulerConfig, text: &str) -> Vec<QueueEntry> {
    let Some(pattern) = &scheduler.history_entry else { return Vec::new() };
    let entries = pattern.regex().captures_iter(text).map(|found| entry(scheduler, &found));
    entries.filter(|entry| entry.state == QueueState::Ended).collect()
}

fn entry(scheduler: &SchedulerConfig, found: &Captures<'_>) -> QueueEntry {
    let group = |name: &str| found.name(name).map_or("", |group| group.as_str().trim());
    let (word, reason) = (group("state"), group("reason"));
    let state = if scheduler.waiting.regex().is_match(word) {
        QueueState::Waiting
    } else if scheduler.running.regex().is_match(word) {
        QueueState::Running
    } else {
        QueueState::Ended
    };
    let told = !reason.is_empty() && reason != "None";
    let word = match state {
        QueueState::Waiting if told => reason.to_owned(),
        QueueState::Ended if told => format!("{word} ({reason})"),
        _ => word.to_owned(),
    };
    QueueEntry {
        batch_id: group("id").to_owned(),
        state,
        word,
        elapsed_s: Some(group("elapsed")).filter(|text| !text.is_empty()).map(parse_elapsed),
        tasks: parse_tasks(group("tasks")),
        mark: group("mark").to_owned(),
    }
}

/// `[days-][hours:]minutes:seconds`, in seconds.
fn parse_elapsed(text: &str) -> u64 {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap_or(0));
    days.parse::<u64>().unwrap_or(0) * 86_400 + seconds
}

/// `5`, `1-300`, `1-9:2`, `3,5-7%10`: indices of an array. What is no index (`N/A`) gives nothing.
fn parse_tasks(text: &str) -> Vec<RangeInclusive<u32>> {
    let (list, _) =
        text.trim_matches(['[', ']']).split_once('%').unwrap_or((text.trim_matches(['[', ']']), ""));
    let mut tasks = Vec::new();
    for part in list.split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last), Ok(step)) = (first.parse(), last.parse(), step.parse::<u32>()) else {
            continue;
        };
        let (first, last): (u32, u32) = (first, last);
        if last > MOST_TASKS || last < first {
            continue;
        }
        if step <= 1 {
            tasks.push(first..=last);
        } else {
            tasks.extend((first..=last).step_by(step as usize).map(|task| task..=task));
        }
    }
    tasks
}

/// The batch id in the answer to a submission.
pub fn parse_submitted(scheduler: &SchedulerConfig, answer: &str) -> Option<String> {
    // The last one: a site's wrapper may say something before.
    let found = scheduler.submitted.regex().captures_iter(answer).last()?;
    found.name("id").map(|id| id.as_str().to_owned())
}

/// Whether a refusal in these words will not pass before the configuration changes.
pub fn is_permanent(scheduler: &SchedulerConfig, refusal: &str) -> bool {
    scheduler.permanent.iter().any(|pattern| pattern.regex().is_match(refusal))
}

/// Whether the launch command asks for an array by itself: ours would hide it, or be refused.
pub fn asks_for_array(scheduler: &SchedulerConfig, command: &CommandLine) -> bool {
    let Some(pattern) = &scheduler.array_requested else { return false };
    command.args.iter().chain(&command.stdin).any(|text| pattern.regex().is_match(text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use meta_core::config;

    use super::*;

    fn scheduler(name: &str) -> SchedulerConfig {
        let text = include_str!("../../../tests/configs/valid/schedulers.toml");
        let config = config::parse(Path::new("schedulers.toml"), text).unwrap();
        config.schedulers[name].clone()
    }

    #[test]
    fn slurm_s_queue_is_read() {
        let text = "12|N/A|PENDING|Priority|0:00|na|me|gitlab-meta-runner/x/abc\n\
                    13|4-6,8%2|PENDING|Resources|0:00|j|(null)\n\
                    13|2|RUNNING|None|1-02:03:04|j|(null)\n\
                    14|N/A|TIMEOUT|TimeLimit|1:00|j|\n\
                    slurm_load_jobs error: Unable to contact slurm controller\n";
        let entries = parse_queue(&scheduler("slurm"), text).unwrap();
        let shown: Vec<String> = entries
            .iter()
            .map(|e| {
                format!(
                    "{} {:?} {} {:?} x{} {}",
                    e.batch_id,
                    e.state,
                    e.word,
                    e.elapsed_s,
                    e.elements(),
                    e.mark
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "12 Waiting Priority Some(0) x1 na|me|gitlab-meta-runner/x/abc",
                "13 Waiting Resources Some(0) x4 j|(null)",
                "13 Running RUNNING Some(93784) x1 j|(null)",
                "14 Ended TIMEOUT (TimeLimit) Some(60) x1 j|",
            ]
        );
    }

    #[test]
    fn grid_engine_s_queue_is_read_over_two_lines_a_job() {
        let text = r"
job-ID     prior   name       user         state submit/start at     queue                          slots ja-task-ID
---------------------------------------------------------------------------------------------------------
         3 0.55500 gmr69245f2 ci           r     11/24/2026 12:00:00 all.q@node1                        1 2
       Full jobname:     gmr69245f2a1b2c3
       Master Queue:     all.q@node1
         3 0.00000 gmr69245f2 ci           qw    11/24/2026 12:00:00                                    1 3-10:1
       Full jobname:     gmr69245f2a1b2c3
         4 0.00000 other      ci           Eqw   11/24/2026 12:00:00                                    1
       Full jobname:     other
";
        let entries = parse_queue(&scheduler("gridengine"), text).unwrap();
        let shown: Vec<String> = entries
            .iter()
            .map(|e| format!("{} {:?} {} x{} {}", e.batch_id, e.state, e.word, e.elements(), e.mark))
            .collect();
        assert_eq!(
            shown,
            ["3 Running r x1 gmr69245f2a1b2c3", "3 Waiting qw x8 gmr69245f2a1b2c3", "4 Ended Eqw x1 other",]
        );
    }

    #[test]
    fn what_is_no_list_is_not_an_empty_one() {
        let slurm = scheduler("slurm");
        let read = |text: &str| parse_queue(&slurm, text).map(|entries| entries.len());
        assert_eq!((read(""), read("\n \n"), read("CLUSTER: alpha\n")), (Ok(0), Ok(0), Ok(0)));
        let maintenance = "\nThe cluster is down for maintenance.\nSorry.\n";
        assert_eq!(
            read(maintenance).unwrap_err().to_string(),
            "no job in it is one by the pattern `entry`; it begins with: The cluster is down for maintenance."
        );
        let cut = |state: &str| read(&format!("12|1,3,7,6...|{state}|None|0:00|j|x\n"));
        assert_eq!(cut("PENDING").unwrap_err().to_string(), "the tasks of job 12 are cut off");
        assert_eq!(cut("CANCELLED"), Ok(1));
    }

    #[test]
    fn a_record_that_was_never_closed_is_no_sign_of_life() {
        let text = "12|RUNNING\n13|PENDING\n14_2|NODE_FAIL\n";
        let entries = parse_history(&scheduler("slurm"), text);
        let shown: Vec<String> = entries.iter().map(|e| format!("{} {}", e.batch_id, e.word)).collect();
        assert_eq!(shown, ["14 NODE_FAIL"]);
    }

    #[test]
    fn the_answer_to_a_submission_has_the_id() {
        let slurm = scheduler("slurm");
        assert_eq!(parse_submitted(&slurm, "note\n1234;cluster\n"), Some("1234".to_owned()));
        assert_eq!(parse_submitted(&slurm, "Submitted batch job 12\n"), None);
        assert_eq!(parse_submitted(&slurm, ""), None);
        let answer = "Your job-array 17.1-10:1 (\"x\") has been submitted\n";
        assert_eq!(parse_submitted(&scheduler("gridengine"), answer), Some("17".to_owned()));
    }

    #[test]
    fn refusals_are_told_apart_by_slurm_s_words() {
        let failed = |reason: &str| format!("sbatch: error: Batch job submission failed: {reason}");
        for (text, expected) in [
            (failed("Invalid account or account/partition combination specified"), true),
            ("sbatch: error: invalid partition specified: nope".to_owned(), true),
            (failed("Invalid qos specification"), true),
            (failed("Requested time limit is invalid (missing or exceeds some limit)"), true),
            ("sbatch: unrecognized option '--nope'".to_owned(), true),
            (failed("Invalid job array specification"), true),
            (
                failed(
                    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
                ),
                false,
            ),
            ("sbatch: error: QOSMaxSubmitJobPerUserLimit".to_owned(), false),
            (failed("Socket timed out on send/recv operation"), false),
            (failed("Unable to contact slurm controller (connect failure)"), false),
            (failed("Slurm temporarily unable to accept job, sleeping and retrying"), false),
        ] {
            assert_eq!(is_permanent(&scheduler("slurm"), &text), expected, "{text}");
        }
    }

    #[test]
    fn an_array_of_the_admin_s_is_seen() {
        let slurm = scheduler("slurm");
        let asks = |args: &[&str], stdin: &str| {
            let mut command = CommandLine::new("sbatch", args.iter().copied());
            command.stdin = Some(stdin.to_owned());
            asks_for_array(&slurm, &command)
        };
        assert!(asks(&["--array=1-4"], "") && asks(&["-a", "1-4"], "") && asks(&["-a1-4"], ""));
        assert!(asks(&[], "#!/bin/sh\n#SBATCH --time=1 --array=1-4\n"));
        assert!(!asks(&["--account=array"], "#!/bin/sh\n# --array=1\necho --array\n"));
    }

    #[test]
    fn indices_of_arrays_are_counted() {
        let count = |text| parse_tasks(text).iter().map(|run| run.end() - run.start() + 1).sum::<u32>();
        let counts = ["N/A", "", "7", "1-300", "[1-9:2%4]", "3,5-7", "9-1", "1-4000000000"].map(count);
        assert_eq!(counts, [0, 0, 1, 300, 5, 4, 0, 0]);
    }
}
