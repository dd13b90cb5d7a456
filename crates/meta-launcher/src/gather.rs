//! What a tick knows: GitLab, the batch system and our own files, asked once.

use crate::facts::{Facts, Limits, wishes};
use meta_core::launches::{Launch, Ledger};
use meta_core::matching::match_jobs;
use meta_core::registrations::Registrations;
use meta_gitlab::Client;
use meta_host::clock;

use crate::failure::LauncherError;
use crate::queue;
use crate::runners;
use crate::scope;
use crate::setup::Setup;
use crate::sites::{self, Sites};
use crate::troubles::Troubles;

/// Asks everybody. What was learned about the projects is noted in the ledger. `keep_lease` is called now and then.
pub(crate) fn facts(
    setup: &Setup<'_>,
    ledger: &mut Ledger,
    registrations: &Registrations,
    gitlab: &Client,
    troubles: &mut Troubles,
    keep_lease: &mut dyn FnMut() -> Result<(), LauncherError>,
) -> Result<Facts, LauncherError> {
    let (config, launch) = (&setup.config, &setup.launch);
    let Sites { mut sites, systems } = sites::sites(setup, registrations, troubles)?;
    // As many jobs as all launches together may take.
    let needed = launch.max_in_flight as usize * launch.group_size as usize + 1;
    // First the queue: a launch that takes a job and ends while GitLab is read is then seen as it was before, and not
    // as one that ended while its job, by an answer from before that, still waited.
    let mut batches = Vec::new();
    for system in systems.iter() {
        keep_lease()?;
        let is_there =
            |launch: &&Launch| system.instances.contains(&launch.instance) || !systems.have(&launch.instance);
        let launches: Vec<&Launch> = ledger.launches.iter().filter(is_there).collect();
        batches.push(queue::look(setup, system, &systems.about(system), &launches, troubles)?);
    }
    let now = clock::now();
    let open = scope::open_jobs(config, gitlab, &mut ledger.scope, needed, now, troubles, keep_lease)?;
    let matches = match_jobs(&config.instances, &wishes(&open.jobs)).by_instance;
    let with_jobs = matches.into_keys().collect();
    runners::look_for_pauses(ledger, &sites, &with_jobs, gitlab, now, keep_lease)?;
    for (name, site) in &mut sites {
        let known = registrations.get(name).and_then(|found| runners::obstacle(ledger, name, found));
        site.obstacle = site.obstacle.or(known);
    }
    Ok(Facts {
        now,
        instances: config.instances.clone(),
        sites,
        jobs: open.jobs,
        jobs_complete: open.complete,
        launches: ledger.launches.clone(),
        batches,
        limits: Limits {
            max_in_flight: launch.max_in_flight,
            max_per_project: launch.max_per_project,
            group_size: launch.group_size,
            interval_s: config.poll.interval_s,
            timeout_s: launch.timeout_s,
        },
        kept_online: config.poll.keep_alive.then(|| ledger.keep_alive.clone()),
        warned: ledger.warned.clone(),
    })
}
