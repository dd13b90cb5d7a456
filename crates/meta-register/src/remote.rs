//! What GitLab has: the runners of ours, and those that we have stored ids of.

use std::collections::{BTreeMap, BTreeSet};

use meta_core::config::Scope;
use meta_core::name::InstanceName;
use meta_core::registrations::{Registration, Registrations};
use meta_gitlab::parallel::in_parallel;
use meta_gitlab::runner_token::TokenState;
use meta_gitlab::runners::{Owner, Runner, RunnerSummary};
use meta_gitlab::{ApiError, Client, ErrorKind};

use crate::desired::looks_like_ours;

/// Names the manager record that GitLab makes when a token is looked at. `verify` is no contact: no runner seems to be
/// online for it.
const SYSTEM_ID: &str = "meta-register";

/// The runners that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    /// Those that exist. A stored id that is neither here nor below is gone.
    pub(crate) runners: BTreeMap<u64, Runner>,
    /// Those that GitLab does not let us see.
    pub(crate) unreadable: BTreeMap<u64, ApiError>,
    /// What GitLab thinks of the stored tokens. Only runners that exist are asked about.
    pub(crate) tokens: BTreeMap<InstanceName, TokenState>,
}

/// Looks up the ids of the projects or of the group, in the order of the configuration.
pub(crate) fn owners(gitlab: &Client, scope: &Scope) -> Result<Vec<Owner>, ApiError> {
    match scope {
        Scope::Projects(paths) => {
            in_parallel(paths, |path| Ok(Owner::Project(gitlab.project(path)?.id))).into_iter().collect()
        }
        Scope::Group(path) => Ok(vec![Owner::Group(gitlab.group(path)?.id)]),
    }
}

/// Reads the runners that may concern us: one request for each stored id and each description with our mark, and one for
/// each stored token.
pub(crate) fn remote(
    gitlab: &Client,
    meta_runner: &str,
    owners: &[Owner],
    stored: &Registrations,
) -> Result<Remote, ApiError> {
    let lists: Vec<Result<Vec<RunnerSummary>, ApiError>> =
        in_parallel(owners, |owner| gitlab.runners_of(*owner));
    let mut ids: BTreeSet<u64> = stored.values().map(|registration| registration.id).collect();
    for list in lists {
        ids.extend(
            list?.iter().filter(|runner| looks_like_ours(meta_runner, &runner.description)).map(|r| r.id),
        );
    }
    let by_id = stored.iter().map(|(name, registration)| (registration.id, (name, registration))).collect();
    read_all(gitlab, &Vec::from_iter(ids), &by_id)
}

/// The stored runners only, for a run that looks after tokens and nothing else.
pub(crate) fn remote_stored(gitlab: &Client, stored: &Registrations) -> Result<Remote, ApiError> {
    remote(gitlab, "", &[], stored)
}

type ById<'a> = BTreeMap<u64, (&'a InstanceName, &'a Registration)>;

fn read_all(gitlab: &Client, ids: &[u64], stored: &ById<'_>) -> Result<Remote, ApiError> {
    let read = |id: &u64| -> Result<_, ApiError> {
        let runner = gitlab.runner(*id)?;
        let token = stored.get(id).map(|(name, registration)| {
            match gitlab.verify_runner_token(&registration.token, SYSTEM_ID) {
                Ok(state) => Ok(Some(((*name).clone(), state))),
                // GitLab does not want to say (422: the runner has lost its owner); that is no reason for a new token.
                Err(error) if error.kind == ErrorKind::Refused => Ok(None),
                Err(error) => Err(error),
            }
        });
        Ok((runner, token.transpose()?.flatten()))
    };
    let mut remote = Remote::default();
    for (id, answer) in ids.iter().zip(in_parallel(ids, read)) {
        match answer {
            Ok((runner, token)) => {
                remote.runners.insert(*id, runner);
                remote.tokens.extend(token);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) if error.kind == ErrorKind::Forbidden => {
                remote.unreadable.insert(*id, error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(remote)
}
