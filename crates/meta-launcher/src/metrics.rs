//! Figures for Prometheus, in a file that node_exporter's textfile collector reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::outlook::Outlook;
use meta_core::launches::{InstanceTotals, Ledger, State};
use meta_core::name::InstanceName;
use meta_host::files::write_readable;

use crate::failure::LauncherError;
use crate::tick::Done;

/// What [`Text`] says of a number: it is what it is now, or it only grows.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// The text of the file (contracts, section 10). `requests` are those of this tick.
pub(crate) fn render(name: &str, done: &Done, ledger: &Ledger, requests: u64) -> String {
    let (facts, outlooks) = (&done.facts, &done.outlooks);
    let mut text = Text { name, text: String::new() };
    text.per_instance("pending_jobs", "Jobs that wait and fit the instance.", outlooks, |o| o.waiting);
    let help = "How long the oldest of them has been waiting.";
    text.per_instance("oldest_pending_seconds", help, outlooks, |o| o.oldest_waiting_s);
    text.per_instance("running_jobs", "Jobs that the instance's runner has.", outlooks, |o| o.active);
    let help = "Launches that wait in the batch system.";
    text.per_instance("launches_queued", help, outlooks, |o| o.queued.into());
    let help = "Jobs that launches which run can still take.";
    text.per_instance("launches_starting", help, outlooks, |o| o.supply.starting);
    let help = "Launches that run in the batch system.";
    text.per_instance("launches_running", help, outlooks, |o| o.running.into());
    text.metric("launches_ended", Kind::Gauge, "Launches in the ledger that have ended, by how.");
    let mut ended: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for launch in &ledger.launches {
        if matches!(launch.state, State::Done | State::Lost | State::Failed | State::Cancelled) {
            *ended.entry((launch.instance.as_str(), launch.state.as_str())).or_default() += 1;
        }
    }
    for ((instance, state), count) in ended {
        text.value("launches_ended", &[("instance", instance), ("state", state)], count);
    }
    type Count = fn(&InstanceTotals) -> u64;
    let totals: [(&str, &str, Count); 4] = [
        ("launches_total", "Launches that were submitted, or tried to be.", |totals| totals.launches),
        ("launches_refused_total", "Those that the batch system refused.", |totals| totals.refused),
        ("launches_cancelled_total", "Those that were cancelled in the queue.", |totals| totals.cancelled),
        ("launches_lost_total", "Those that ended while their job still waited.", |totals| totals.lost),
    ];
    for (metric, help, value) in totals {
        text.metric(metric, Kind::Counter, help);
        for (instance, totals) in &ledger.totals.instances {
            text.value(metric, &[("instance", instance)], value(totals));
        }
    }
    let batch_known = u64::from(facts.batches_known());
    let troubles = ledger.troubles.values().filter(|trouble| trouble.over.is_none()).count() as u64;
    let all_requests = ledger.totals.gitlab_requests;
    let single: [(&str, Kind, &str, u64); 6] = [
        ("unmatched_jobs", Kind::Gauge, "Waiting jobs that no instance may take.", done.unmatched as u64),
        ("gitlab_requests", Kind::Gauge, "Requests to GitLab in the last tick.", requests),
        ("gitlab_requests_total", Kind::Counter, "Requests to GitLab in all ticks.", all_requests),
        ("troubles", Kind::Gauge, "Troubles that last, as `status` shows them.", troubles),
        ("batch_known", Kind::Gauge, "Whether the batch system answered.", batch_known),
        ("last_tick_timestamp_seconds", Kind::Gauge, "When the last tick was.", facts.now),
    ];
    for (metric, kind, help, value) in single {
        text.metric(metric, kind, help);
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
    fn metric(&mut self, metric: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // A String takes everything.
        let _ = writeln!(
            self.text,
            "# HELP gitlab_meta_runner_{metric} {help}\n# TYPE gitlab_meta_runner_{metric} {kind}"
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
        self.metric(metric, Kind::Gauge, help);
        for (instance, outlook) in outlooks {
            self.value(metric, &[("instance", instance.as_str())], value(outlook));
        }
    }
}
