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
    /// Makes both. docker's volumes have this mode: jobs that run as another user write here. Other users of the cluster do
    /// not get that far: the directory around each is private.
    pub(crate) fn make(&self) -> Result<(), StageFailure> {
        for directory in [&self.builds, &self.cache] {
            make_private_dir(directory.parent().unwrap_or(directory))
                .map_err(|error| StageFailure::system(&error))?;
            make(directory, 0o777)?;
        }
        Ok(())
    }
}

/// Writes a file that every user of a container may read, whatever the umask is: new, in a directory of the job's own.
#[expect(
    clippy::disallowed_methods,
    reason = "it goes with the job, so a file that is half written after a crash harms nobody"
)]
pub(crate) fn write_for_all(path: &Path, text: &str) -> Result<(), StageFailure> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)))
        .map_err(|error| StageFailure::disk(path, &error))
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
    cache.join(format!("{}{}", job.project(), job.protection())).join("cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_users_do_not_get_to_what_every_user_of_a_container_may_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let job = Directories {
            builds: path("job/builds"),
            cache: path("cache/project/cache"),
            builds_inside: "/builds".into(),
            cache_inside: "/cache".into(),
        };
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        job.make().unwrap();
        let modes = ["job", "job/builds", "cache/project", "cache/project/cache"].map(mode);
        assert_eq!(modes, [0o700, 0o777, 0o700, 0o777]);
        fs::set_permissions(path("cache/project"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(job.make().is_err(), "who may write there may put another cache in its place");
    }

    #[test]
    fn files_for_all_do_not_depend_on_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        fs::File::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        write_for_all(&path, "text").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    }
}
