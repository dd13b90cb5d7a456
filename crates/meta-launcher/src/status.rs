//! `status`: how instances and launches stand, for people or as JSON.

use crate::plan::Action;
use meta_core::launches::Launch;
use meta_host::arguments::Paths;
use meta_host::{Environment, app, exit};
use serde::Serialize;

use crate::explain::unmatched;
use crate::failure::LauncherError;
use crate::look::{Seen, look};
use crate::table;

/// The JSON form (contracts, section 11).
#[derive(Debug, Serialize)]
struct Status {
    version: u32,
    name: String,
    /// Unix seconds.
    at: u64,
    /// Whether GitLab answered. Without it there are no instances.
    gitlab_known: bool,
    /// Whether every batch system answered.
    batch_known: bool,
    instances: Vec<InstanceStatus>,
    launches: Vec<LaunchStatus>,
    unmatched: Vec<Unmatched>,
    /// What ticks have met, and what lasts.
    troubles: Vec<TroubleStatus>,
}

#[derive(Debug, Serialize)]
struct InstanceStatus {
    name: String,
    /// Jobs.
    pending: u64,
    /// Seconds.
    oldest_pending_s: u64,
    /// Launches, each element of an array counts.
    queued: u32,
    /// Jobs that running launches can still take.
    starting: u64,
    /// Jobs that its runner has.
    running: u64,
    /// Submissions of the last day that were lost or refused.
    failed: u64,
    last_error: Option<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LaunchStatus {
    id: String,
    instance: String,
    batch_id: Option<String>,
    state: &'static str,
    /// Elements: all, waiting, running.
    elements: u32,
    waiting: u32,
    running: u32,
    age_s: u64,
    reason: Option<String>,
    jobs: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Unmatched {
    job: u64,
    reason: String,
}

#[derive(Debug, Serialize)]
struct TroubleStatus {
    about: String,
    age_s: u64,
    text: String,
}

/// Prints it; returns an exit code.
pub(crate) fn run(paths: &Paths, environment: &Environment, as_json: bool) -> Result<u8, LauncherError> {
    let seen = look(paths, environment)?;
    let code = if seen.complete { exit::DONE } else { exit::PARTIAL };
    let status = status(seen);
    if as_json {
        let text = serde_json::to_string_pretty(&status).expect("texts and numbers have a JSON form");
        app::print(&format!("{text}\n"));
    } else {
        app::print(&for_people(&status));
    }
    Ok(code)
}

fn status(seen: Seen) -> Status {
    let lasting = seen.ledger.troubles.into_iter().filter(|(_, trouble)| trouble.over.is_none());
    let troubles = lasting.map(|(about, trouble)| TroubleStatus {
        about,
        age_s: seen.now.saturating_sub(trouble.since),
        text: trouble.text,
    });
    let mut launches = seen.ledger.launches;
    let mut status = Status {
        version: 1,
        name: seen.name,
        at: seen.now,
        gitlab_known: seen.tick.is_some(),
        batch_known: false,
        instances: Vec::new(),
        launches: Vec::new(),
        unmatched: Vec::new(),
        troubles: troubles.collect(),
    };
    if let Some((facts, plan)) = seen.tick {
        status.batch_known = facts.batches_known();
        for action in plan.actions {
            if let Action::Settle(settled) = action
                && let Some(launch) = launches.iter_mut().find(|launch| launch.id == settled.id)
            {
                *launch = settled;
            }
        }
        for (name, outlook) in plan.outlooks {
            status.instances.push(InstanceStatus {
                name: name.to_string(),
                pending: outlook.waiting,
                oldest_pending_s: outlook.oldest_waiting_s,
                queued: outlook.queued,
                starting: outlook.supply.starting,
                running: outlook.active,
                failed: outlook.failed,
                last_error: outlook.latest_failure,
                notes: outlook.notes.iter().map(ToString::to_string).collect(),
            });
        }
        let unmatched = plan.unmatched.into_iter();
        status.unmatched = unmatched.map(|(job, why)| Unmatched { job, reason: why.to_string() }).collect();
    }
    status.launches = launches.into_iter().map(|launch| launch_status(launch, seen.now)).collect();
    status
}

fn launch_status(launch: Launch, now: u64) -> LaunchStatus {
    LaunchStatus {
        state: launch.state.as_str(),
        elements: launch.elements,
        waiting: launch.waiting_elements(),
        running: launch.running_elements(),
        age_s: now.saturating_sub(launch.submitted),
        instance: launch.instance.to_string(),
        id: launch.id,
        batch_id: launch.batch_id,
        reason: launch.reason,
        jobs: launch.jobs,
    }
}

fn for_people(status: &Status) -> String {
    let header = ["instance", "pending", "queued", "starting", "running", "failed", "last error"];
    let instances = status.instances.iter().map(|instance| {
        let last_error = instance.last_error.as_deref().unwrap_or("-");
        vec![
            instance.name.clone(),
            instance.pending.to_string(),
            instance.queued.to_string(),
            instance.starting.to_string(),
            instance.running.to_string(),
            instance.failed.to_string(),
            one_line(last_error),
        ]
    });
    let mut text = String::new();
    if status.gitlab_known {
        text.push_str(&table::render(&header, instances));
    }
    let notes: Vec<String> = status
        .instances
        .iter()
        .flat_map(|instance| {
            instance.notes.iter().map(|note| format!("{}: {}", instance.name, one_line(note)))
        })
        .chain(unmatched(status.unmatched.iter().map(|job| (job.job, job.reason.clone()))))
        .chain(status.troubles.iter().map(|trouble| {
            format!("trouble with {} for {}: {}", trouble.about, age(trouble.age_s), one_line(&trouble.text))
        }))
        .collect();
    if !notes.is_empty() {
        text.push_str(&format!("\n{}\n", notes.join("\n")));
    }
    if !status.launches.is_empty() {
        let header = ["launch", "instance", "batch id", "state", "elements", "age", "reason"];
        let launches = status.launches.iter().map(|launch| {
            vec![
                launch.id.clone(),
                launch.instance.clone(),
                launch.batch_id.clone().unwrap_or_else(|| "-".to_owned()),
                launch.state.to_owned(),
                elements(launch),
                age(launch.age_s),
                one_line(launch.reason.as_deref().unwrap_or("-")),
            ]
        });
        text.push('\n');
        text.push_str(&table::render(&header, launches));
    }
    text
}

fn elements(launch: &LaunchStatus) -> String {
    match launch.elements {
        1 => "1".to_owned(),
        all => format!("{all} ({} wait, {} run)", launch.waiting, launch.running),
    }
}

/// `59 s`, `59 min`, `23 h`, `2 d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        assert_eq!(
            [0, 59, 60, 3599, 3600, 90_000].map(age),
            ["0 s", "59 s", "1 min", "59 min", "1 h", "1 d"]
        );
    }
}
