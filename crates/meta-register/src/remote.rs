//! What GitLab has: the runners of ours, and those that we have stored ids of.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use meta_core::config::Scope;
use meta_core::registrations::Registrations;
use meta_gitlab::runners::{Owner, Runner};
use meta_gitlab::{ApiError, Client, ErrorKind};

use crate::desired::looks_like_ours;

/// Requests that are under way at a time. All of them only read.
const PARALLEL: usize = 8;

/// The runners that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    /// Those that exist. A stored id that is neither here nor below is gone.
    pub(crate) runners: BTreeMap<u64, Runner>,
    /// Those that GitLab does not let us see.
    pub(crate) unreadable: BTreeMap<u64, ApiError>,
}

/// Looks up the ids of the projects or of the group, in the order of the configuration.
pub(crate) fn owners(gitlab: &Client, scope: &Scope) -> Result<Vec<Owner>, ApiError> {
    match scope {
        Scope::Projects(paths) => {
            paths.iter().map(|path| Ok(Owner::Project(gitlab.project(path)?.id))).collect()
        }
        Scope::Group(path) => Ok(vec![Owner::Group(gitlab.group(path)?.id)]),
    }
}

/// Reads the runners that may concern us: one request for each stored id and each description with our mark.
pub(crate) fn remote(
    gitlab: &Client,
    meta_runner: &str,
    owners: &[Owner],
    stored: &Registrations,
) -> Result<Remote, ApiError> {
    let mut ids: BTreeSet<u64> = stored.values().map(|registration| registration.id).collect();
    for owner in owners {
        let listed = gitlab.runners_of(*owner)?;
        ids.extend(
            listed.iter().filter(|runner| looks_like_ours(meta_runner, &runner.description)).map(|r| r.id),
        );
    }
    let mut remote = Remote::default();
    for (id, answer) in read_all(gitlab, &Vec::from_iter(ids)) {
        match answer {
            Ok(runner) => {
                remote.runners.insert(id, runner);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) if error.kind == ErrorKind::Forbidden => {
                remote.unreadable.insert(id, error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(remote)
}

fn read_all(gitlab: &Client, ids: &[u64]) -> Vec<(u64, Result<Runner, ApiError>)> {
    let share = ids.len().div_ceil(PARALLEL).max(1);
    thread::scope(|scope| {
        let readers: Vec<_> = ids
            .chunks(share)
            .map(|ids| scope.spawn(|| ids.iter().map(|id| (*id, gitlab.runner(*id))).collect::<Vec<_>>()))
            .collect();
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader returns its errors")).collect()
    })
}
