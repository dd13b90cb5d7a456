//! Removes what jobs left on this node whose gitlab-runner ended without a cleanup (SIGKILL, walltime, crash), and checkouts
//! that nobody needs any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::pod::spec::Mapping;
use crate::{owner, removal, slot};

/// A directory without an owner was left between two system calls of `prepare`, or was not made by us; in either case
/// there is no hurry.
const OWNERLESS: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks at this host's entries only: whether a process of another host lives cannot be seen from here. Failures are
/// logged: they must not stop the job that is being prepared.
pub(crate) fn run(context: &Context, mapping: Mapping) {
    let paths = &context.paths;
    let prefix = format!("{}-custom-executor", context.environment.hostname);
    let places = [paths.builds_dir.clone(), paths.node_dir.join("overlay")];
    let own = [&paths.job, &paths.overlay];
    let mut abandoned: Vec<PathBuf> = places
        .iter()
        .flat_map(|place| entries(place, &prefix))
        .filter(|entry| !own.contains(&entry) && is_abandoned(entry))
        .collect();
    abandoned.extend(slot::take_unused(context));
    if let Err(failure) = removal::remove(&abandoned, mapping) {
        log::warn!("what earlier jobs left stays: {failure}");
    }
}

fn is_abandoned(directory: &Path) -> bool {
    match owner::read(&directory.join(owner::FILE)) {
        Some(owner) => !owner::is_alive(&owner),
        None => {
            let changed = fs::symlink_metadata(directory).and_then(|found| found.modified());
            changed.ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > OWNERLESS)
        }
    }
}

fn entries(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Owner;

    #[test]
    fn only_dead_owners_abandon() {
        let directory = tempfile::tempdir().unwrap();
        let job = directory.path();
        assert!(!is_abandoned(job), "new, and nobody's yet");
        let own = owner::of(i32::try_from(std::process::id()).unwrap());
        owner::write(&job.join(owner::FILE), &own).unwrap();
        assert!(!is_abandoned(job));
        owner::write(&job.join(owner::FILE), &Owner { started: own.started + 1, ..own }).unwrap();
        assert!(is_abandoned(job));
    }
}
