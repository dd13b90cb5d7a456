//! Compares what should be with what is, and says what to do. Pure.

mod difference;

use std::collections::BTreeSet;
use std::fmt;

use meta_core::name::InstanceName;
use meta_core::registrations::Registrations;
use meta_gitlab::runners::{Runner, RunnerChange};

use crate::desired::{Desired, DesiredRunner, owner_of_note};
use crate::remote::Remote;
use difference::difference;

/// One step, with everything that it needs. `Display` is its line in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) instance: InstanceName,
    pub(crate) step: Step,
}

/// What is done for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is none yet.
    Create(DesiredRunner),
    /// There was one, and GitLab says that it is gone.
    Recreate { gone: u64, runner: DesiredRunner },
    /// There is one with our mark and its token is not on disk: reset the token and keep it.
    Adopt { id: u64 },
    /// It differs.
    Update { id: u64, change: RunnerChange, fields: Vec<FieldChange> },
    /// It does not serve this project yet.
    Assign { id: u64, project: u64 },
    /// Nobody asks for it any more, or it is one too many.
    Delete { id: u64 },
    /// Drop our record without touching GitLab.
    Forget { id: u64, reason: ForgetReason },
}

/// One field of an update, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldChange {
    pub(crate) field: &'static str,
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Why a record is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForgetReason {
    Gone,
    NotOurs,
}

/// Something that the plan leaves as it is, and that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) instance: InstanceName,
    pub(crate) id: u64,
    /// The fields that differ in a runner without our mark.
    pub(crate) fields: Vec<FieldChange>,
}

/// The actions, in the order of the instances' names; an instance's adoption comes before its update, and deletions last.
///
/// Only runners whose maintenance note is our mark are changed. A stored runner without it (one of the reference system's)
/// is used as it is, with a remark if it differs.
pub(crate) fn plan(
    meta_runner: &str,
    desired: &Desired,
    stored: &Registrations,
    remote: &Remote,
) -> (Vec<Action>, Vec<Remark>) {
    let mut planner = Planner { meta_runner, stored, remote, actions: Vec::new(), remarks: Vec::new() };
    for (instance, runner) in desired {
        planner.keep(instance, runner);
    }
    let marked = remote.runners.values().filter_map(|runner| planner.mark_of(runner));
    let unwanted: BTreeSet<InstanceName> =
        stored.keys().cloned().chain(marked).filter(|instance| !desired.contains_key(instance)).collect();
    for instance in &unwanted {
        planner.drop(instance);
    }
    // Stable: a runner goes only after its successor has come.
    planner.actions.sort_by_key(|action| matches!(action.step, Step::Delete { .. }));
    (planner.actions, planner.remarks)
}

struct Planner<'a> {
    meta_runner: &'a str,
    stored: &'a Registrations,
    remote: &'a Remote,
    actions: Vec<Action>,
    remarks: Vec<Remark>,
}

impl Planner<'_> {
    /// An instance that is wanted.
    fn keep(&mut self, instance: &InstanceName, desired: &DesiredRunner) {
        let stored = self.stored.get(instance).map(|registration| registration.id);
        if stored.is_some_and(|id| self.remote.unreadable.contains_key(&id)) {
            return;
        }
        // A stored id with the mark of another instance is that one's runner.
        let is_ours_or_foreign =
            |runner: &&Runner| self.mark_of(runner).is_none_or(|owner| owner == *instance);
        let listed = stored.and_then(|id| self.remote.runners.get(&id));
        let present = listed.filter(is_ours_or_foreign);
        let gone = stored.filter(|_| listed.is_none());
        let mut ours = self.marked_for(instance);
        match present {
            Some(runner) => {
                ours.retain(|id| *id != runner.id);
                if self.mark_of(runner).as_ref() == Some(instance) {
                    self.align(instance, desired, runner);
                } else if let Some((_, fields)) = difference(&desired.runner, runner) {
                    let fields =
                        fields.into_iter().filter(|change| change.field != "description").collect::<Vec<_>>();
                    if !fields.is_empty() {
                        self.remarks.push(Remark { instance: instance.clone(), id: runner.id, fields });
                    }
                }
            }
            None => {
                // Ids grow: the newest one is the one that a lost answer or file was about.
                if let Some(runner) = ours.pop_last().and_then(|id| self.remote.runners.get(&id)) {
                    self.push(instance, Step::Adopt { id: runner.id });
                    self.align(instance, desired, runner);
                } else if let Some(gone) = gone {
                    self.push(instance, Step::Recreate { gone, runner: desired.clone() });
                } else {
                    self.push(instance, Step::Create(desired.clone()));
                }
            }
        }
        for id in ours {
            self.push(instance, Step::Delete { id });
        }
    }

    /// An instance that nobody wants any more.
    fn drop(&mut self, instance: &InstanceName) {
        let mut ours = self.marked_for(instance);
        if let Some(id) = self.stored.get(instance).map(|registration| registration.id)
            && !self.remote.unreadable.contains_key(&id)
            && !ours.remove(&id)
        {
            let reason = if self.remote.runners.contains_key(&id) {
                ForgetReason::NotOurs
            } else {
                ForgetReason::Gone
            };
            self.push(instance, Step::Forget { id, reason });
        } else if let Some(registration) = self.stored.get(instance)
            && !self.remote.unreadable.contains_key(&registration.id)
        {
            self.push(instance, Step::Delete { id: registration.id });
        }
        for id in ours {
            self.push(instance, Step::Delete { id });
        }
    }

    /// Makes a runner of ours what is wanted. Whether it is paused is the admin's business.
    fn align(&mut self, instance: &InstanceName, desired: &DesiredRunner, runner: &Runner) {
        if let Some((change, fields)) = difference(&desired.runner, runner) {
            self.push(instance, Step::Update { id: runner.id, change, fields });
        }
        for project in desired.more_projects.iter().filter(|project| !runner.projects.contains(project)) {
            self.push(instance, Step::Assign { id: runner.id, project: *project });
        }
    }

    fn marked_for(&self, instance: &InstanceName) -> BTreeSet<u64> {
        let is_its = |runner: &&Runner| self.mark_of(runner).as_ref() == Some(instance);
        self.remote.runners.values().filter(is_its).map(|runner| runner.id).collect()
    }

    fn mark_of(&self, runner: &Runner) -> Option<InstanceName> {
        owner_of_note(self.meta_runner, &runner.maintenance_note)
    }

    fn push(&mut self, instance: &InstanceName, step: Step) {
        self.actions.push(Action { instance: instance.clone(), step });
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = &self.instance;
        match &self.step {
            Step::Create(runner) => write!(f, "create {instance}: {}", tags(&runner.runner.tags)),
            Step::Recreate { gone, runner } => {
                write!(f, "recreate {instance}: {}; runner {gone} is gone", tags(&runner.runner.tags))
            }
            Step::Adopt { id } => write!(f, "adopt {instance}: runner {id}, with a new token"),
            Step::Update { id, fields, .. } => {
                let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
                write!(f, "update {instance}: runner {id}, {}", fields.join(", "))
            }
            Step::Assign { id, project } => write!(f, "assign {instance}: runner {id} to project {project}"),
            Step::Delete { id } => write!(f, "delete {instance}: runner {id}"),
            Step::Forget { id, reason: ForgetReason::Gone } => {
                write!(f, "forget {instance}: runner {id} is gone")
            }
            Step::Forget { id, reason: ForgetReason::NotOurs } => {
                write!(f, "forget {instance}: runner {id} does not carry our mark and stays")
            }
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.field, self.old, self.new)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> = self.fields.iter().map(ToString::to_string).collect();
        write!(
            f,
            "runner {} of `{}` does not carry our mark and is left as it is, though it differs: {}",
            self.id,
            self.instance,
            fields.join(", ")
        )
    }
}

fn tags(tags: &[String]) -> String {
    format!("tags [{}]", tags.join(", "))
}

#[cfg(test)]
mod tests;
