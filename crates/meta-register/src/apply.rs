//! Does what the plan says: one action at a time, each one saved before the next.

use meta_core::name::InstanceName;
use meta_core::registrations::Registration;
use meta_gitlab::runners::IssuedToken;
use meta_gitlab::{ApiError, Client};
use meta_host::files::FileError;
use meta_host::lease::{Lease, LeaseError};
use meta_host::{Failure, app, exit};

use crate::desired::DesiredRunner;
use crate::plan::{Action, Step};
use crate::state::State;

/// How far the plan was carried out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) done: usize,
    pub(crate) failed: usize,
}

/// Carries the plan out. What fails for one instance is reported, and the others go on.
///
/// # Errors
/// What concerns all instances: the state cannot be saved, the lease is lost, GitLab refuses the token or is gone.
pub(crate) fn apply(
    actions: &[Action],
    gitlab: &Client,
    state: &mut State,
    lease: &mut Lease,
) -> Result<Outcome, ApplyError> {
    let mut outcome = Outcome::default();
    for action in actions {
        lease.renew().map_err(ApplyError::Lease)?;
        match perform(action, gitlab, state) {
            Ok(()) => outcome.done += 1,
            Err(ApplyError::GitLab { source, .. }) if source.concerns_all_calls() && outcome.done == 0 => {
                return Err(ApplyError::GitLab { action: action.to_string(), source });
            }
            Err(error @ ApplyError::GitLab { .. }) => {
                app::report(&error);
                outcome.failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

/// Why an action, or all that follow, were not done.
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
    #[error("cannot save the registrations")]
    NotSaved(#[source] FileError),
    #[error("stopped before the plan was done")]
    Lease(#[source] LeaseError),
}

impl Failure for ApplyError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::GitLab { .. } => exit::GITLAB,
            Self::CreatedNotSaved { .. } | Self::NotSaved(_) => exit::CONFIGURATION,
            Self::Lease(error) => error.exit_code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::GitLab { source, .. } => source.hint(),
            Self::CreatedNotSaved { deleted: true, .. } | Self::NotSaved(_) => {
                Some("make room and run the command again".to_owned())
            }
            Self::CreatedNotSaved { id, .. } => {
                Some(format!("delete runner {id} in GitLab, or run the command again: it is then adopted"))
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
        Step::Create(runner) | Step::Recreate { runner, .. } => create(action, runner, gitlab, state),
        Step::Adopt { id } => {
            let issued = gitlab.reset_runner_token(*id).map_err(failed)?;
            // If this fails, the runner has our mark and no token on disk: the next run resets it again.
            keep(state, instance, *id, issued).map_err(ApplyError::NotSaved)
        }
        Step::Update { id, change, .. } => gitlab.update_runner(*id, change).map(|_| ()).map_err(failed),
        Step::Assign { id, project } => gitlab.assign_runner(*id, *project).map_err(failed),
        Step::Delete { id } => {
            match gitlab.delete_runner(*id) {
                Err(error) if !error.is_not_found() => return Err(failed(error)),
                _ => {}
            }
            forget(state, instance, *id)
        }
        Step::Forget { id, .. } => forget(state, instance, *id),
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
    let before = state.registrations.get(instance).cloned();
    if let Err(source) = keep(state, instance, id, issued) {
        let deleted = gitlab.delete_runner(id).is_ok();
        match before {
            Some(registration) => state.registrations.insert(instance.clone(), registration),
            None => state.registrations.remove(instance),
        };
        return Err(ApplyError::CreatedNotSaved { instance: instance.clone(), id, deleted, source });
    }
    for project in &desired.more_projects {
        gitlab.assign_runner(id, *project).map_err(failed)?;
    }
    Ok(())
}

fn keep(state: &mut State, instance: &InstanceName, id: u64, issued: IssuedToken) -> Result<(), FileError> {
    let registration = Registration { id, token: issued.token, token_expires_at: issued.expires_at };
    state.registrations.insert(instance.clone(), registration);
    state.save()
}

/// Drops the record of an instance if it is about this runner and not about its successor.
fn forget(state: &mut State, instance: &InstanceName, id: u64) -> Result<(), ApplyError> {
    if state.registrations.get(instance).is_some_and(|registration| registration.id == id) {
        state.registrations.remove(instance);
        state.save().map_err(ApplyError::NotSaved)?;
    }
    Ok(())
}
