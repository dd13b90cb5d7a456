//! A job's directories: who they belong to, and where `/builds` and `/cache` are on the host and inside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use meta_host::files::make_private_dir;
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::failure::StageFailure;
use crate::job::Job;
use crate::{job_variables, owner, slot};

/// Where the job's files are. gitlab-runner knows the paths inside only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Directories {
    pub(crate) builds: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) builds_inside: PathBuf,
    pub(crate) cache_inside: PathBuf,
}

/// The paths that a job sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// `/builds` and `/cache`.
    AsDocker,
    /// The host's own: with `same_paths`, and where nothing can be shown elsewhere.
    AsOnHost,
}

/// Takes the job's own directories: when this gitlab-runner is gone, they may be removed.
pub(crate) fn take(context: &Context) -> Result<(), StageFailure> {
    let runner = owner::of(getppid().as_raw());
    for directory in [&context.paths.job, &context.paths.overlay] {
        make_private_dir(directory).map_err(|error| StageFailure::system(&error))?;
        let file = directory.join(owner::FILE);
        owner::write(&file, &runner).map_err(|error| StageFailure::disk(&file, &error))?;
    }
    Ok(())
}

/// Finds the job's directories, and with `keep_builds` claims a slot. Gives the same answer when it is asked again, so that
/// `config` and `prepare` agree.
pub(crate) fn find(context: &Context, job: &Job, shown: Shown) -> Result<Directories, StageFailure> {
    let builds = if context.settings.keep_builds && fetches(context, job) {
        slot::claim(context, job)?.join("builds")
    } else {
        context.paths.private_builds()
    };
    let cache = cache(context, job);
    Ok(match shown {
        Shown::AsOnHost => {
            Directories { builds_inside: builds.clone(), cache_inside: cache.clone(), builds, cache }
        }
        Shown::AsDocker => {
            Directories { builds, cache, builds_inside: "/builds".into(), cache_inside: "/cache".into() }
        }
    })
}

impl Directories {
    /// Makes both. docker's volumes have this mode: jobs that run as another user write here.
    pub(crate) fn make(&self) -> Result<(), StageFailure> {
        make(&self.builds, 0o777)?;
        make(&self.cache, 0o777)
    }
}

/// `mkdir -p` with the mode of the last directory.
pub(crate) fn make(directory: &Path, mode: u32) -> Result<(), StageFailure> {
    fs::create_dir_all(directory)
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(mode)))
        .map_err(|error| StageFailure::disk(directory, &error))
}

/// docker keeps `/builds` for jobs that fetch, and gives a fresh one to all others.
fn fetches(context: &Context, job: &Job) -> bool {
    match job_variables::value("GIT_STRATEGY", job, &context.environment) {
        Some("fetch") => true,
        None | Some("") => job.allow_git_fetch,
        Some(_) => false,
    }
}

/// docker keeps the caches of projects apart, and those of protected refs.
fn cache(context: &Context, job: &Job) -> PathBuf {
    let Some(cache) = &context.instance.cache_dir else { return context.paths.private_cache() };
    cache.join(format!("project-{}{}", job.job_info.project_id, job.protection()))
}
