//! Small builders for the tests of pure code.

use std::collections::BTreeMap;

use meta_core::config::instances::InstanceConfig;
use meta_core::launches::{Launch, State};

use crate::facts::{Batch, Facts, Job, Limits, Place, QueueEntry, QueueState, Site};

/// The time of all tests, unless they say otherwise.
pub(crate) const NOW: u64 = 10_000;

/// A queued launch with id `L<number>` and batch id `<number>`, submitted 100 s ago.
pub(crate) fn launch(instance: &str, number: u64) -> Launch {
    Launch {
        id: format!("L{number}"),
        instance: instance.parse().unwrap(),
        elements: 1,
        slots: 1,
        batch_id: Some(number.to_string()),
        submitted: NOW - 100,
        changed: NOW - 100,
        state: State::Queued,
        reason: None,
        jobs: Vec::new(),
        waiting: None,
        runs: Vec::new(),
        lost_at: BTreeMap::new(),
        surplus: None,
        refused_config: None,
    }
}

/// What the batch system says of [`launch`] with that number.
pub(crate) fn entry(number: u64, state: QueueState, word: &str) -> QueueEntry {
    QueueEntry {
        batch_id: number.to_string(),
        state,
        word: word.to_owned(),
        elapsed_s: Some(0),
        tasks: Vec::new(),
        mark: format!("job.sh|gitlab-meta-runner/m/L{number}"),
    }
}

/// A pending job for the instance whose tag is `tag`.
pub(crate) fn job(id: u64, tag: &str) -> Job {
    Job {
        id,
        project: 1,
        tags: vec![tag.to_owned()],
        protected: false,
        runner: None,
        pending: true,
        queued_s: 5,
    }
}

/// Instances named like their only tag, registered with the runner ids 1, 2, ..., under Slurm with an empty queue.
pub(crate) fn facts(instances: &[&str]) -> Facts {
    let named = |(name, runner): (&&str, u64)| {
        let site = Site {
            runner,
            place: Place::Queue(0),
            max_array: 1,
            start_grace_s: 121,
            fingerprint: "now".to_owned(),
            obstacle: None,
        };
        (name.parse().unwrap(), site)
    };
    Facts {
        now: NOW,
        instances: instances.iter().map(|name| (name.parse().unwrap(), instance(name))).collect(),
        sites: instances.iter().zip(1..).map(named).collect(),
        jobs: Vec::new(),
        jobs_complete: true,
        launches: Vec::new(),
        batches: vec![Batch::Known(Vec::new())],
        limits: Limits {
            max_in_flight: 100,
            max_per_project: None,
            group_size: 1,
            interval_s: 30,
            timeout_s: 300,
        },
        kept_online: None,
        warned: BTreeMap::new(),
    }
}

fn instance(tag: &str) -> InstanceConfig {
    InstanceConfig {
        tags: vec![tag.to_owned()],
        launch_priority: 0,
        run_untagged: false,
        protected: false,
        locked: None,
        maximum_timeout_s: None,
        description: None,
        max_launches: None,
        config_variables: BTreeMap::new(),
    }
}
