//! Figures for Prometheus, in a file that node_exporter's textfile collector reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::facts::{Batch, Facts};
use crate::outlook::Outlook;
use meta_core::launches::{Ledger, State};
use meta_core::name::InstanceName;
use meta_host::files::write_readable;

use crate::failure::LauncherError;

/// The text of the file (contracts, section 10).
pub(crate) fn render(
    name: &str,
    facts: &Facts,
    ledger: &Ledger,
    outlooks: &BTreeMap<InstanceName, Outlook>,
    unmatched: usize,
    requests: u64,
) -> String {
    let mut text = Text { name, text: String::new() };
    text.per_instance("pending_jobs", "Jobs that wait and fit the instance.", outlooks, |o| o.waiting);
    text.per_instance(
        "oldest_pending_seconds",
        "How long the oldest of them has been waiting.",
        outlooks,
        |o| o.oldest_waiting_s,
    );
    text.per_instance("running_jobs", "Jobs that the instance's runner has.", outlooks, |o| o.active);
    text.per_instance("launches_queued", "Launches that wait in the batch system.", outlooks, |o| {
        o.queued.into()
    });
    text.per_instance("launches_starting", "Jobs that launches which run can still take.", outlooks, |o| {
        o.supply.starting
    });
    text.per_instance("launches_running", "Launches that run in the batch system.", outlooks, |o| {
        o.running.into()
    });
    text.metric("launches_ended", "Launches in the ledger that have ended, by how.");
    let mut ended: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for launch in &ledger.launches {
        if matches!(launch.state, State::Done | State::Lost | State::Failed | State::Cancelled) {
            *ended.entry((launch.instance.as_str(), launch.state.as_str())).or_default() += 1;
        }
    }
    for ((instance, state), count) in ended {
        text.value("launches_ended", &[("instance", instance), ("state", state)], count);
    }
    let single: [(&str, &str, u64); 4] = [
        ("unmatched_jobs", "Waiting jobs that no instance may take.", unmatched as u64),
        ("gitlab_requests", "Requests to GitLab in the last tick.", requests),
        ("batch_known", "Whether the batch system answered.", u64::from(facts.batch != Batch::Unknown)),
        ("last_tick_timestamp_seconds", "When the last tick was.", facts.now),
    ];
    for (metric, help, value) in single {
        text.metric(metric, help);
        text.value(metric, &[], value);
    }
    text.text
}

/// Replaces the file at once. Everybody may read it: it has no secrets, and the collector is another user.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), LauncherError> {
    write_readable(path, text.as_bytes()).map_err(LauncherError::File)
}

struct Text<'a> {
    name: &'a str,
    text: String,
}

impl Text<'_> {
    fn metric(&mut self, metric: &str, help: &str) {
        // A String takes everything.
        let _ = writeln!(
            self.text,
            "# HELP gitlab_meta_runner_{metric} {help}\n# TYPE gitlab_meta_runner_{metric} gauge"
        );
    }

    fn value(&mut self, metric: &str, labels: &[(&str, &str)], value: u64) {
        let name = [("meta_runner", self.name)];
        let labels = name.iter().chain(labels).map(|(label, value)| format!("{label}=\"{value}\""));
        let labels: Vec<String> = labels.collect();
        let _ = writeln!(self.text, "gitlab_meta_runner_{metric}{{{}}} {value}", labels.join(","));
    }

    fn per_instance(
        &mut self,
        metric: &str,
        help: &str,
        outlooks: &BTreeMap<InstanceName, Outlook>,
        value: impl Fn(&Outlook) -> u64,
    ) {
        self.metric(metric, help);
        for (instance, outlook) in outlooks {
            self.value(metric, &[("instance", instance.as_str())], value(outlook));
        }
    }
}
