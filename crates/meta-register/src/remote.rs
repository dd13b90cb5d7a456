//! What GitLab has: the runners of ours, and those that we have stored ids of.

use std::collections::BTreeMap;

use meta_core::config::Scope;
use meta_core::name::InstanceName;
use meta_core::registrations::{Registration, Registrations};
use meta_gitlab::parallel::in_parallel;
use meta_gitlab::runner_token::TokenState;
use meta_gitlab::runners::{Owner, Runner, RunnerSummary};
use meta_gitlab::{ApiError, Client, ErrorKind};

use crate::desired::owner_by_looks;

/// Names the manager record that GitLab makes when a token is looked at. `verify` is no contact: no runner seems to be
/// online for it.
const SYSTEM_ID: &str = "meta-register";

/// The runners that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    /// Those that exist. A stored id that is neither here nor below is gone.
    pub(crate) runners: BTreeMap<u64, Runner>,
    /// Those that could not be looked at: GitLab does not let us see them, or had trouble with them.
    pub(crate) unreadable: BTreeMap<u64, Unreadable>,
    /// What GitLab thinks of the stored tokens. Only runners that exist are asked about.
    pub(crate) tokens: BTreeMap<InstanceName, TokenState>,
}

/// A runner that could not be looked at. Its instance is left as it is.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// By our record, else by its description.
    pub(crate) instance: InstanceName,
    pub(crate) error: ApiError,
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
    let mut candidates: BTreeMap<u64, Candidate<'_>> = BTreeMap::new();
    for list in lists {
        for runner in list? {
            let looks = owner_by_looks(meta_runner, &runner.description);
            candidates.extend(looks.map(|instance| (runner.id, Candidate { instance, stored: None })));
        }
    }
    candidates.extend(
        stored
            .iter()
            .map(|(name, stored)| (stored.id, Candidate { instance: name.clone(), stored: Some(stored) })),
    );
    read_all(gitlab, &Vec::from_iter(candidates))
}

/// The stored runners only, for a run that looks after tokens and nothing else.
pub(crate) fn remote_stored(gitlab: &Client, stored: &Registrations) -> Result<Remote, ApiError> {
    remote(gitlab, "", &[], stored)
}

/// A runner that may concern us.
#[derive(Debug)]
struct Candidate<'a> {
    instance: InstanceName,
    stored: Option<&'a Registration>,
}

fn read_all(gitlab: &Client, candidates: &[(u64, Candidate<'_>)]) -> Result<Remote, ApiError> {
    let read = |(id, candidate): &(u64, Candidate<'_>)| -> Result<_, ApiError> {
        let runner = gitlab.runner(*id)?;
        let token = candidate.stored.map(|registration| {
            match gitlab.verify_runner_token(&registration.token, SYSTEM_ID) {
                Ok(state) => Ok(Some((candidate.instance.clone(), state))),
                // GitLab does not want to say (422: the runner has lost its owner); that is no reason for a new token.
                Err(error) if error.kind == ErrorKind::Refused => Ok(None),
                Err(error) => Err(error),
            }
        });
        Ok((runner, token.transpose()?.flatten()))
    };
    let mut remote = Remote::default();
    let mut troubled = 0;
    for ((id, candidate), answer) in candidates.iter().zip(in_parallel(candidates, read)) {
        match answer {
            Ok((runner, token)) => {
                remote.runners.insert(*id, runner);
                remote.tokens.extend(token);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                troubled += usize::from(error.is_trouble_on_the_way());
                // One that fails must not stop the others; where most fail, it is GitLab or the way to it.
                let stops = error.kind != ErrorKind::Forbidden && !error.is_trouble_on_the_way();
                if stops || 2 * troubled > candidates.len() {
                    return Err(error);
                }
                let instance = candidate.instance.clone();
                remote.unreadable.insert(*id, Unreadable { instance, error });
            }
        }
    }
    Ok(remote)
}
