//! `plan`: what the next tick would do, and why.

use std::collections::BTreeMap;

use crate::plan::{Action, Plan};
use meta_host::arguments::Paths;
use meta_host::{Environment, app, exit};

use crate::failure::LauncherError;
use crate::job_names::job_names;
use crate::look::look;
use crate::waiting;

/// Prints it; returns an exit code. Nothing is changed, here or elsewhere.
pub(crate) fn run(paths: &Paths, environment: &Environment) -> Result<u8, LauncherError> {
    let seen = look(paths, environment)?;
    if let Some((_, plan)) = &seen.tick {
        app::print(&text(plan));
    }
    Ok(if seen.complete { exit::DONE } else { exit::PARTIAL })
}

/// A line per action, then per instance that has something to say, then per job that nobody may take.
fn text(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.actions.iter().map(line).collect();
    for (name, outlook) in &plan.outlooks {
        let (supply, waiting) = (outlook.supply, outlook.waiting);
        if waiting > 0 || outlook.live() > 0 {
            lines.push(format!(
                "{name}: pending {waiting}, queued {}, starting {}, to launch {}",
                outlook.queued, supply.starting, outlook.launching
            ));
        }
        lines.extend(outlook.notes.iter().map(|note| format!("{name}: {note}")));
    }
    lines.extend(unmatched(plan.unmatched.iter().map(|(job, mismatch)| (*job, mismatch.to_string()))));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A line per reason why no instance may take jobs.
pub(crate) fn unmatched(jobs: impl Iterator<Item = (u64, String)>) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (job, reason) in jobs {
        by_reason.entry(reason).or_default().push(job);
    }
    by_reason.into_iter().map(|(reason, jobs)| format!("{}: {reason}", job_names(&jobs))).collect()
}

fn line(action: &Action) -> String {
    match action {
        Action::Settle(launch) => {
            let reason = launch.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
            format!(
                "note that launch {} of {} is {}{reason}",
                launch.id,
                launch.instance,
                launch.state.as_str()
            )
        }
        Action::KeepOnline(instance) => format!("keep {instance} online in GitLab, since jobs wait for it"),
        Action::Warn { jobs, in_s } => format!("warn: {}", waiting::announcement(jobs, *in_s)),
        Action::Cancel(cancelled) => {
            let ids = cancelled.iter().map(|cancellation| match cancellation.tasks.len() {
                0 => cancellation.batch_id.clone(),
                tasks => format!("{tasks} tasks of {}", cancellation.batch_id),
            });
            format!("cancel {}, since no job waits for it", ids.collect::<Vec<_>>().join(", "))
        }
        Action::Launch(new) => {
            let jobs = new.jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let array =
                if new.elements > 1 { format!("an array of {} for ", new.elements) } else { String::new() };
            format!("launch {array}{} with {} slots: jobs {jobs}", new.instance, new.slots)
        }
    }
}
