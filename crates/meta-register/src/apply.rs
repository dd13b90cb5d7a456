//! Does what the plan says: one action at a time, each one saved before the next.

use std::collections::BTreeSet;

use meta_core::name::InstanceName;
use meta_gitlab::{ApiError, Client, ErrorKind};
use meta_host::files::FileError;
use meta_host::lease::{Lease, LeaseError};
use meta_host::{Failure, exit};

use crate::desired::DesiredRunner;
use crate::plan::{Action, RecreateReason, Step};
use crate::state::State;

/// Failures in a row after which the way to GitLab is taken to be broken: each one has been tried several times already.
const PATIENCE: usize = 3;

/// What came of an action.
#[derive(Debug)]
pub(crate) enum Fate {
    Done,
    Failed(ApplyError),
    /// Something before it failed: an action of the same instance, or everything.
    NotTried,
}

/// Carries the plan out. What fails for one instance does not stop the others; what concerns all of them does: the state
/// cannot be saved, the lease is lost, GitLab refuses the token or is gone. The fates are in the order of the actions.
pub(crate) fn apply(actions: &[Action], gitlab: &Client, state: &mut State, lease: &mut Lease) -> Vec<Fate> {
    let mut fates = Vec::new();
    let mut failed: BTreeSet<&InstanceName> = BTreeSet::new();
    let mut troubles = 0;
    for action in actions {
        if failed.contains(&action.instance) {
            fates.push(Fate::NotTried);
            continue;
        }
        let result = lease.renew().map_err(ApplyError::Lease).and_then(|()| perform(action, gitlab, state));
        let Err(error) = result else {
            troubles = 0;
            fates.push(Fate::Done);
            continue;
        };
        troubles = if error.is_trouble_on_the_way() { troubles + 1 } else { 0 };
        let stops = error.concerns_all() || troubles >= PATIENCE;
        failed.insert(&action.instance);
        fates.push(Fate::Failed(error));
        if stops {
            break;
        }
    }
    fates.resize_with(actions.len(), || Fate::NotTried);
    fates
}

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("cannot {action}")]
    GitLab {
        action: String,
        #[source]
        source: ApiError,
    },
    #[error(
        "cannot save the token of runner {id}, which was just created for `{instance}`{}",
        deletion(deleted)
    )]
    CreatedNotSaved {
        instance: InstanceName,
        id: u64,
        deleted: bool,
        #[source]
        source: FileError,
    },
    #[error("cannot save the new token of runner {id} of `{instance}`")]
    ResetNotSaved {
        instance: InstanceName,
        id: u64,
        #[source]
        source: FileError,
    },
    #[error("cannot save the registrations")]
    NotSaved(#[source] FileError),
    #[error(
        "the new token of `{instance}` is saved, but gitlab-runner's configuration still has the old one"
    )]
    NotFollowed {
        instance: InstanceName,
        #[source]
        source: FileError,
    },
    #[error("stopped before the plan was done")]
    Lease(#[source] LeaseError),
}

impl ApplyError {
    fn concerns_all(&self) -> bool {
        match self {
            Self::GitLab { source, .. } => source.concerns_all_calls(),
            _ => true,
        }
    }

    fn is_trouble_on_the_way(&self) -> bool {
        matches!(self, Self::GitLab { source, .. } if source.is_trouble_on_the_way())
    }
}

impl Failure for ApplyError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::GitLab { .. } => exit::GITLAB,
            Self::CreatedNotSaved { .. }
            | Self::ResetNotSaved { .. }
            | Self::NotSaved(_)
            | Self::NotFollowed { .. } => exit::CONFIGURATION,
            Self::Lease(error) => error.exit_code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::GitLab { source, .. } => source.hint(),
            Self::CreatedNotSaved { deleted: false, id, .. } => {
                Some(format!("delete runner {id} in GitLab, or run the command again: it is then adopted"))
            }
            Self::CreatedNotSaved { .. } | Self::ResetNotSaved { .. } | Self::NotSaved(_) => {
                Some("make room and run the command again".to_owned())
            }
            Self::NotFollowed { source, .. } => {
                Some(source.hint().unwrap_or_else(|| "make room and run the command again".to_owned()))
            }
            Self::Lease(error) => error.hint(),
        }
    }
}

fn deletion(deleted: &bool) -> &'static str {
    if *deleted { "; the runner was deleted again" } else { "; the runner could not be deleted again" }
}

fn perform(action: &Action, gitlab: &Client, state: &mut State) -> Result<(), ApplyError> {
    let failed = |source| ApplyError::GitLab { action: action.to_string(), source };
    let instance = &action.instance;
    match &action.step {
        Step::Create(runner) => create(action, runner, gitlab, state),
        Step::Recreate { old, reason, runner } => {
            if *reason == RecreateReason::Elsewhere {
                delete(gitlab, *old, &[]).map_err(failed)?;
                state.forget(instance, *old).map_err(ApplyError::NotSaved)?;
            }
            create(action, runner, gitlab, state)
        }
        Step::Adopt { id } | Step::ResetToken { id, .. } => {
            let issued = gitlab.reset_runner_token(*id).map_err(failed)?;
            // If this fails, the next run finds no token, or one that is refused, and resets it again.
            state.keep(instance, *id, issued).map_err(|source| ApplyError::ResetNotSaved {
                instance: instance.clone(),
                id: *id,
                source,
            })?;
            follow(instance, state)
        }
        Step::Update { id, change, .. } => gitlab.update_runner(*id, change).map(|_| ()).map_err(failed),
        Step::Assign { id, project } => gitlab.assign_runner(*id, *project).map_err(failed),
        Step::Delete { id, leave } => {
            delete(gitlab, *id, leave).map_err(failed)?;
            state.forget(instance, *id).map_err(ApplyError::NotSaved)
        }
        Step::Forget { id, .. } => state.forget(instance, *id).map_err(ApplyError::NotSaved),
    }
}

fn create(
    action: &Action,
    desired: &DesiredRunner,
    gitlab: &Client,
    state: &mut State,
) -> Result<(), ApplyError> {
    let failed = |source| ApplyError::GitLab { action: action.to_string(), source };
    let instance = &action.instance;
    let (id, issued) = gitlab.create_runner(&desired.runner).map_err(failed)?;
    if let Err(source) = state.keep(instance, id, issued) {
        let deleted = gitlab.delete_runner(id).is_ok();
        return Err(ApplyError::CreatedNotSaved { instance: instance.clone(), id, deleted, source });
    }
    follow(instance, state)?;
    // The first one is the one that it was made for.
    for project in desired.projects.iter().skip(1) {
        gitlab.assign_runner(id, *project).map_err(failed)?;
    }
    Ok(())
}

fn follow(instance: &InstanceName, state: &State) -> Result<(), ApplyError> {
    state.follow().map_err(|source| ApplyError::NotFollowed { instance: instance.clone(), source })
}

/// Deletes a runner that may be gone already.
fn delete(gitlab: &Client, id: u64, leave: &[u64]) -> Result<(), ApiError> {
    for project in leave {
        match gitlab.unassign_runner(id, *project) {
            // The owning project cannot be left, and the deletion says what there is to say.
            Err(error) if !matches!(error.kind, ErrorKind::Forbidden | ErrorKind::NotFound) => {
                return Err(error);
            }
            _ => {}
        }
    }
    match gitlab.delete_runner(id) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
