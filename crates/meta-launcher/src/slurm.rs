//! What Slurm is asked, and how its answers are read. Pure.

use crate::facts::{QueueEntry, QueueState};
use meta_core::command_line::CommandLine;

/// One query for everything of this user: job id, state, reason, time used, name, comment. The texts that may hold a bar
/// are last.
pub(crate) fn query() -> CommandLine {
    CommandLine::new("squeue", ["--me", "--noheader", "--states=all", "--format=%A|%T|%r|%M|%j|%k"])
}

/// The flags that are put in front of the admin's: a short answer, and the launch id where it can be found again.
pub(crate) fn flags(name: &str, launch: &str, id_is_used: bool) -> Vec<String> {
    let mut flags = vec!["--parsable".to_owned()];
    if !id_is_used {
        flags.push(format!("--comment=gitlab-meta-runner/{name}/{launch}"));
    }
    flags
}

/// Reads the answer to [`query`]; lines of another shape are none of ours.
pub(crate) fn parse_queue(text: &str) -> Vec<QueueEntry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<QueueEntry> {
    let fields: Vec<&str> = line.splitn(6, '|').collect();
    let [id, state, reason, elapsed, name, comment] = fields[..] else { return None };
    let state_now = match state {
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "SUSPENDED" => QueueState::Waiting,
        "RUNNING" | "COMPLETING" | "STAGE_OUT" | "SIGNALING" => QueueState::Running,
        _ => QueueState::Ended,
    };
    let word = if state_now == QueueState::Waiting { reason } else { state };
    Some(QueueEntry {
        batch_id: id.to_owned(),
        state: state_now,
        word: word.to_owned(),
        elapsed_s: parse_elapsed(elapsed),
        marks: [comment.to_owned(), name.to_owned()],
    })
}

/// `[days-][hours:]minutes:seconds`.
fn parse_elapsed(text: &str) -> u64 {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap_or(0));
    days.parse::<u64>().unwrap_or(0) * 86_400 + seconds
}

/// The job id in sbatch's answer: `1234` or `1234;cluster`.
pub(crate) fn parse_submitted(stdout: &str) -> Option<String> {
    let id = stdout.lines().next_back()?.split(';').next()?.trim();
    (!id.is_empty() && id.chars().all(|c| c.is_ascii_digit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_read() {
        let entries = parse_queue(
            "12|PENDING|Priority|0:00|na|me|gitlab-meta-runner/x/abc\n13|RUNNING|None|1-02:03:04|j|(null)\nslurm_load_jobs error\n",
        );
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].state, entries[0].word.as_str()), (QueueState::Waiting, "Priority"));
        assert!(entries[0].marks[0].ends_with("/abc"));
        assert_eq!((entries[1].state, entries[1].elapsed_s), (QueueState::Running, 93_784));
    }

    #[test]
    fn only_a_number_is_a_job_id() {
        assert_eq!(parse_submitted("note\n1234;cluster\n"), Some("1234".to_owned()));
        assert_eq!(parse_submitted("Submitted batch job 12\n"), None);
        assert_eq!(parse_submitted(""), None);
    }
}
