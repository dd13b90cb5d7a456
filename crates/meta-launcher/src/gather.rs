//! What a tick knows: GitLab, the batch system and our own files, asked once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::facts::{Batch, Facts, Job, Site};
use meta_core::config::launch::{LaunchConfig, Scheduler};
use meta_core::config::{Config, Scope};
use meta_core::instance::{LaunchCommand, expand_launch};
use meta_core::launches::Launch;
use meta_core::name::InstanceName;
use meta_core::registrations::Registrations;
use meta_gitlab::jobs::JobStatus;
use meta_gitlab::{ApiError, Client};
use meta_host::arguments::Paths;
use meta_host::{Environment, clock, configuration, process};
use sha2::{Digest, Sha256};

use crate::failure::LauncherError;
use crate::slurm;

/// Jobs that one project is asked for: more than any limit lets us launch in a tick.
const MOST_JOBS: usize = 2000;

/// The runner waits 30 s for a job in the example; a node may take its time to start.
const START_GRACE_S: u64 = 30 + 120;

const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks everybody.
pub(crate) fn facts(
    config: &Config,
    launch: &LaunchConfig,
    launches: Vec<Launch>,
    registrations: &Registrations,
    gitlab: &Client,
    paths: &Paths,
    environment: &Environment,
) -> Result<Facts, LauncherError> {
    let mut sites = BTreeMap::new();
    for (name, registration) in registrations.iter().filter(|(name, _)| config.instances.contains_key(*name))
    {
        let command = command(config, launch, name, "", 1, paths, environment)?;
        let fingerprint = Sha256::digest(format!("{:?}", command.command).as_bytes());
        let site = Site {
            runner: registration.id,
            scheduler: command.scheduler,
            start_grace_s: START_GRACE_S,
            fingerprint: fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        sites.insert(name.clone(), site);
    }
    let (jobs, jobs_complete) = jobs(&config.scope, gitlab)?;
    let asks_slurm = sites.values().any(|site| site.scheduler == Scheduler::Slurm);
    Ok(Facts {
        now: clock::now(),
        instances: config.instances.clone(),
        batch: if asks_slurm { queue() } else { Batch::Known(Vec::new()) },
        sites,
        jobs,
        jobs_complete,
        launches,
        max_in_flight: launch.max_in_flight,
        group_size: launch.group_size,
        interval_s: config.poll.interval_s,
    })
}

/// The launch command of one instance, with the variables that only `[launch]` has.
pub(crate) fn command(
    config: &Config,
    launch: &LaunchConfig,
    instance: &InstanceName,
    id: &str,
    slots: u32,
    paths: &Paths,
    environment: &Environment,
) -> Result<LaunchCommand, LauncherError> {
    let settings = &config.instances[instance];
    let mut variables = configuration::variables(environment, instance, &settings.config_variables);
    let generated = paths.generated_config(config.name.as_str()).display().to_string();
    for (name, value) in
        [("CONFIG", generated), ("NUM_JOBS", slots.to_string()), ("LAUNCH_ID", id.to_owned())]
    {
        variables.builtins.insert(name.to_owned(), value);
    }
    expand_launch(launch, &variables).map_err(|error| LauncherError::Expand(error.report(&config.source)))
}

fn jobs(scope: &Scope, gitlab: &Client) -> Result<(Vec<Job>, bool), LauncherError> {
    let projects: Result<Vec<u64>, ApiError> = match scope {
        Scope::Projects(paths) => paths.iter().map(|path| Ok(gitlab.project(path)?.id)).collect(),
        Scope::Group(path) => gitlab
            .group(path)
            .and_then(|group| gitlab.group_projects(group.id))
            .map(|projects| projects.into_iter().map(|project| project.id).collect()),
    };
    let mut jobs = Vec::new();
    let mut complete = true;
    for project in projects.map_err(LauncherError::GitLab)? {
        let list = gitlab.open_jobs(project, MOST_JOBS).map_err(LauncherError::GitLab)?;
        complete &= !list.more;
        jobs.extend(list.jobs.into_iter().map(|job| Job {
            id: job.id,
            tags: job.tags,
            // Which refs are protected is not asked yet: instances for protected refs only are not launched for.
            protected: false,
            runner: job.runner_id,
            pending: job.status == JobStatus::Pending,
            queued_s: job.queued_s.unwrap_or(0),
        }));
    }
    Ok((jobs, complete))
}

/// A query that fails says nothing: above all not that the queue is empty.
fn queue() -> Batch {
    let command = slurm::query();
    match process::run(&command, QUERY_TIMEOUT).and_then(|output| output.require_success(&command)) {
        Ok(output) => Batch::Known(slurm::parse_queue(&String::from_utf8_lossy(&output.stdout))),
        Err(error) => {
            log::error!("the batch system does not answer, so nothing is launched: {error}");
            Batch::Unknown
        }
    }
}
