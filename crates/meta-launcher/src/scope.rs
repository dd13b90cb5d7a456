//! Whose jobs are asked for: the projects of the configuration, and their pending and running jobs.

use std::collections::BTreeMap;

use crate::facts::Job;
use crate::refs::is_protected;
use meta_core::config::instances::InstanceConfig;
use meta_core::config::{Config, Scope};
use meta_core::launches::{KnownProject, KnownScope, ProtectedRefs};
use meta_core::matching::{Wish, match_jobs};
use meta_core::name::InstanceName;
use meta_gitlab::jobs::{Job as GitLabJob, JobStatus};
use meta_gitlab::projects::Project;
use meta_gitlab::{ApiError, Client, ErrorKind};
use meta_host::Failure as _;

use crate::failure::LauncherError;
use crate::troubles::Troubles;

/// Seconds for which a list of projects is good: a new project waits that long for its first launch.
const LISTED_FOR_S: u64 = 600;

/// Jobs of one project beyond which no more pages are read, so that memory stays bounded.
const MOST_JOBS: usize = 20_000;

/// The jobs that were told, and whether those are all.
#[derive(Debug, Default)]
pub(crate) struct OpenJobs {
    pub(crate) jobs: Vec<Job>,
    pub(crate) complete: bool,
}

/// Failures on the way to GitLab in a row after which it is taken to be broken: each has been tried several times already.
const PATIENCE: usize = 3;

/// Asks for the jobs of every project. `needed` waiting jobs of ours in one project are enough for a tick. `keep_lease` is
/// called before each request, which may take minutes.
///
/// # Errors
/// No project answered, or the lease is lost. If some answered, their jobs are a result, and the trouble of the others is
/// told.
pub(crate) fn open_jobs(
    config: &Config,
    gitlab: &Client,
    known: &mut Option<KnownScope>,
    needed: usize,
    now: u64,
    troubles: &mut Troubles,
    keep_lease: &mut dyn FnMut() -> Result<(), LauncherError>,
) -> Result<OpenJobs, LauncherError> {
    keep_lease()?;
    refresh(config, gitlab, known, now, troubles).map_err(LauncherError::GitLab)?;
    let projects = known.as_ref().map_or(&[][..], |known| &known.projects);
    for (path, reason) in known.iter().flat_map(|known| &known.missing) {
        troubles.error(path, &format!("project `{path}` is left out, the others go on: {reason}"));
    }
    let mut open = OpenJobs { jobs: Vec::new(), complete: true };
    let (mut answered, mut in_a_row) = (0, 0);
    let mut failures: Vec<(&str, ApiError)> = Vec::new();
    for project in projects {
        if project.without_ci {
            tell_without_ci(config, project, troubles);
            answered += 1;
            continue;
        }
        keep_lease()?;
        let enough = |jobs: &[GitLabJob]| jobs.len() >= MOST_JOBS || ours(&config.instances, jobs) >= needed;
        match gitlab.open_jobs(project.id, enough) {
            Ok(list) => {
                (answered, in_a_row) = (answered + 1, 0);
                open.complete &= !list.more;
                open.jobs.extend(list.jobs.into_iter().map(|job| plain(job, project)));
                troubles.over(&project.path);
            }
            Err(error) => {
                open.complete = false;
                in_a_row = if error.is_trouble_on_the_way() { in_a_row + 1 } else { 0 };
                let stops = error.concerns_all_calls() || in_a_row >= PATIENCE;
                failures.push((&project.path, error));
                if stops {
                    break;
                }
            }
        }
    }
    if answered == 0
        && let Some((_, error)) = failures.pop()
    {
        return Err(LauncherError::GitLab(error));
    }
    for (path, error) in &failures {
        troubles.failure(path, error);
    }
    // Moved, renamed, deleted, or without CI/CD since: the next tick lists them anew.
    let is_outdated = failures.iter().any(|(_, error)| is_of_the_project(error));
    if is_outdated && let Some(known) = known {
        known.listed = 0;
    }
    Ok(open)
}

/// In a group that is usual; somebody who names the project in the configuration awaits jobs of it.
fn tell_without_ci(config: &Config, project: &KnownProject, troubles: &mut Troubles) {
    let path = &project.path;
    if matches!(config.scope, Scope::Group(_)) {
        log::debug!("project `{path}` has no CI/CD, so no jobs");
        return;
    }
    let text = format!(
        "CI/CD is switched off in project `{path}`, so it has no jobs\nhint: switch it on in the project's settings, or take it out of `projects`"
    );
    troubles.error(path, &text);
}

/// Whether it says more of this project than of GitLab.
fn is_of_the_project(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden)
}

/// Waiting jobs among these that an instance may take.
fn ours(instances: &BTreeMap<InstanceName, InstanceConfig>, jobs: &[GitLabJob]) -> usize {
    let waiting = jobs.iter().filter(|job| job.status == JobStatus::Pending && job.runner_id.is_none());
    let wishes: Vec<Wish> =
        waiting.map(|job| Wish { job: job.id, tags: job.tags.clone(), protected: true }).collect();
    match_jobs(instances, &wishes).by_instance.values().map(Vec::len).sum()
}

fn plain(job: GitLabJob, project: &KnownProject) -> Job {
    let protected =
        project.protected.as_ref().is_some_and(|refs| is_protected(refs, &job.git_ref, job.is_tag));
    Job {
        id: job.id,
        project: project.id,
        tags: job.tags,
        protected,
        runner: job.runner_id,
        pending: job.status == JobStatus::Pending,
        queued_s: job.queued_s.unwrap_or(0),
    }
}

/// Lists the projects anew if the list is old or of another configuration. An old list is better than none.
fn refresh(
    config: &Config,
    gitlab: &Client,
    known: &mut Option<KnownScope>,
    now: u64,
    troubles: &mut Troubles,
) -> Result<(), ApiError> {
    let wants_refs = config.instances.values().any(|instance| instance.protected);
    let of = format!("{} {:?}{}", config.url, config.scope, if wants_refs { " with refs" } else { "" });
    if let Some(known) = known.as_ref()
        && known.of == of
        && now.saturating_sub(known.listed) < LISTED_FOR_S
    {
        return Ok(());
    }
    match list(config, gitlab, wants_refs) {
        Ok(Listed { projects, missing }) => {
            let before = known.take().map(|known| known.missing).unwrap_or_default();
            before.keys().filter(|path| !missing.contains_key(*path)).for_each(|path| troubles.over(path));
            *known = Some(KnownScope { of, listed: now, projects, missing });
            troubles.over("projects");
            Ok(())
        }
        Err(error) if known.as_ref().is_some_and(|known| known.of == of) && !error.concerns_all_calls() => {
            troubles.failure("projects", &error);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The projects of the configuration, as GitLab shows them.
struct Listed {
    projects: Vec<KnownProject>,
    /// As [`KnownScope::missing`].
    missing: BTreeMap<String, String>,
}

/// Projects that are gone are no reason to leave the others waiting, unless none is left.
fn list(config: &Config, gitlab: &Client, wants_refs: bool) -> Result<Listed, ApiError> {
    let (mut projects, mut gone): (Vec<Project>, Vec<(&String, ApiError)>) = (Vec::new(), Vec::new());
    match &config.scope {
        Scope::Projects(paths) => {
            for path in paths {
                match gitlab.project(path) {
                    Ok(project) => projects.push(project),
                    Err(error) if is_of_the_project(&error) => gone.push((path, error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Scope::Group(path) => {
            projects = gitlab.group(path).and_then(|group| gitlab.group_projects(group.id))?;
        }
    }
    if projects.is_empty() && !gone.is_empty() {
        return Err(gone.remove(0).1);
    }
    projects.sort_by_key(|project| project.id);
    let known = |project: Project| -> Result<KnownProject, ApiError> {
        let protected = if wants_refs {
            let refs = gitlab.protected_refs(project.id)?;
            Some(ProtectedRefs { branches: refs.branches, tags: refs.tags })
        } else {
            None
        };
        Ok(KnownProject { id: project.id, path: project.path, protected, without_ci: !project.has_ci })
    };
    let reason = |error: ApiError| error.report().trim_start_matches("error: ").to_owned();
    Ok(Listed {
        projects: projects.into_iter().map(known).collect::<Result<_, _>>()?,
        missing: gone.into_iter().map(|(path, error)| (path.clone(), reason(error))).collect(),
    })
}
