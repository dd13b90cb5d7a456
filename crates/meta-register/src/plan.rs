//! Compares what should be with what is, and says what to do. Pure.

mod action;
mod difference;
mod remark;

use std::collections::BTreeSet;

use meta_core::name::InstanceName;
use meta_core::registrations::{Registration, Registrations};
use meta_core::rotation::{TokenAge, token_age};
use meta_gitlab::runner_token::TokenState;
use meta_gitlab::runners::{Owner, Runner};

use crate::desired::{Desired, DesiredRunner, owner_of_note};
use crate::remote::{Remote, Unreadable};
pub(crate) use action::{Action, ForgetReason, RecreateReason, ResetReason, Step};
use difference::difference;
pub(crate) use difference::{FieldChange, FieldValue};
pub(crate) use remark::{About, Remark};

/// What is known when the plan is made.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) meta_runner: &'a str,
    /// The projects or the group of the configuration.
    pub(crate) owners: &'a [Owner],
    pub(crate) desired: &'a Desired,
    pub(crate) stored: &'a Registrations,
    pub(crate) remote: &'a Remote,
    /// Unix seconds.
    pub(crate) now: u64,
    /// Instances whose token is left alone if it can wait: launches of them are starting.
    pub(crate) starting: &'a BTreeSet<InstanceName>,
}

/// What to do, and what to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) remarks: Vec<Remark>,
}

/// The actions, in the order of the instances' names; what makes an instance usable comes before its update, and deletions
/// last.
///
/// Only runners whose maintenance note is our mark are changed. A stored runner without it (one of the reference system's)
/// is used as it is, with a remark if it differs. A runner that projects outside of the configuration use is never deleted,
/// nor one that is at work and was never ours here: another user of the same name may have registered it.
pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    let mut planner = Planner { facts, plan: Plan::default() };
    for (instance, runner) in facts.desired {
        planner.keep(instance, runner);
    }
    let marked = facts.remote.runners.values().filter_map(|runner| planner.mark_of(runner));
    let unwanted: BTreeSet<InstanceName> = facts
        .stored
        .keys()
        .cloned()
        .chain(marked)
        .filter(|instance| !facts.desired.contains_key(instance))
        .collect();
    for instance in &unwanted {
        planner.drop(instance);
    }
    let mut plan = planner.plan;
    // Stable: a runner goes only after its successor has come.
    plan.actions.sort_by_key(|action| matches!(action.step, Step::Delete { .. }));
    plan
}

struct Planner<'a> {
    facts: &'a Facts<'a>,
    plan: Plan,
}

impl Planner<'_> {
    /// An instance that is wanted.
    fn keep(&mut self, instance: &InstanceName, desired: &DesiredRunner) {
        let stored = self.facts.stored.get(instance);
        // Where GitLab had trouble, what looks like the instance's runner may be the one that we would make again.
        let is_its = |(id, runner): (&u64, &Unreadable)| {
            stored.is_some_and(|stored| stored.id == *id)
                || (runner.instance == *instance && runner.error.is_trouble_on_the_way())
        };
        if self.facts.remote.unreadable.iter().any(is_its) {
            return;
        }
        let listed = stored.and_then(|stored| self.facts.remote.runners.get(&stored.id));
        // A stored id with the mark of another instance is that one's runner.
        let present = listed.filter(|runner| self.mark_of(runner).is_none_or(|owner| owner == *instance));
        let mut ours = self.marked_for(instance);
        match (stored, present) {
            (Some(stored), Some(runner)) => {
                ours.remove(&runner.id);
                if self.mark_of(runner).is_some() {
                    self.keep_ours(instance, desired, stored, runner);
                } else {
                    self.keep_unmarked(instance, desired, stored, runner);
                }
            }
            // Ids grow: the newest one is the one that a lost answer or file was about.
            _ => match (ours.pop_last().and_then(|id| self.facts.remote.runners.get(&id)), stored) {
                (Some(runner), _) => {
                    self.push(instance, Step::Adopt { id: runner.id });
                    self.align(instance, desired, runner);
                }
                (None, Some(stored)) if listed.is_none() => {
                    let (old, runner) = (stored.id, desired.clone());
                    self.push(instance, Step::Recreate { old, reason: RecreateReason::Gone, runner });
                }
                (None, _) => self.push(instance, Step::Create(desired.clone())),
            },
        }
        for id in ours {
            self.delete(instance, id);
        }
    }

    fn keep_ours(
        &mut self,
        instance: &InstanceName,
        desired: &DesiredRunner,
        stored: &Registration,
        runner: &Runner,
    ) {
        let id = runner.id;
        if !serves(desired, runner) {
            let shared = runner.projects.len() > 1;
            let reason = if shared { RecreateReason::ElsewhereAndStays } else { RecreateReason::Elsewhere };
            self.push(instance, Step::Recreate { old: id, reason, runner: desired.clone() });
            return;
        }
        let end = stored.token_expires_at.clone().unwrap_or_default();
        match token_age(stored, self.facts.now) {
            _ if self.token_is_refused(instance, id) => {
                self.push(instance, Step::ResetToken { id, reason: ResetReason::Refused });
            }
            TokenAge::Good => {}
            TokenAge::Due if self.facts.starting.contains(instance) => {
                self.remark(instance, id, About::ResetPostponed(end));
            }
            TokenAge::Due | TokenAge::Urgent | TokenAge::Expired => {
                self.push(instance, Step::ResetToken { id, reason: ResetReason::Expires(end) });
            }
        }
        self.align(instance, desired, runner);
    }

    /// A runner that was taken over from the reference system, or whose note somebody has changed.
    fn keep_unmarked(
        &mut self,
        instance: &InstanceName,
        desired: &DesiredRunner,
        stored: &Registration,
        runner: &Runner,
    ) {
        let id = runner.id;
        let recreate = |reason| Step::Recreate { old: id, reason, runner: desired.clone() };
        if self.token_is_refused(instance, id) {
            self.push(instance, recreate(RecreateReason::TokenRefused));
            return;
        }
        if !serves(desired, runner) {
            self.push(instance, recreate(RecreateReason::ElsewhereAndStays));
            return;
        }
        if let Some(end) = &stored.token_expires_at
            && token_age(stored, self.facts.now) > TokenAge::Good
        {
            self.remark(instance, id, About::UnmarkedExpires(end.clone()));
        }
        let mut fields = difference(&desired.runner, runner).map(|(_, fields)| fields).unwrap_or_default();
        // Its description is its own; ours ends in a mark that it must not have.
        fields.retain(|change| change.field != "description");
        if !fields.is_empty() {
            self.remark(instance, id, About::UnmarkedDiffers(fields));
        }
    }

    /// An instance that nobody wants any more.
    fn drop(&mut self, instance: &InstanceName) {
        let remote = self.facts.remote;
        let ours = self.marked_for(instance);
        let stored = self.facts.stored.get(instance).map(|registration| registration.id);
        if let Some(id) = stored.filter(|id| !ours.contains(id) && !remote.unreadable.contains_key(id)) {
            let exists = remote.runners.contains_key(&id);
            let reason = if exists { ForgetReason::NotOurs } else { ForgetReason::Gone };
            self.push(instance, Step::Forget { id, reason });
        }
        for id in ours {
            self.delete(instance, id);
        }
    }

    /// Deletes a runner with our mark, unless others use it.
    fn delete(&mut self, instance: &InstanceName, id: u64) {
        let Some(runner) = self.facts.remote.runners.get(&id) else { return };
        let is_known = self.facts.stored.get(instance).is_some_and(|stored| stored.id == id);
        if runner.online && !is_known {
            self.remark(instance, id, About::KeptAtWork);
            return;
        }
        let others = self.projects_of_others(runner);
        // The one project that a runner has is the one that it was made for.
        if runner.projects.len() > 1 && !others.is_empty() {
            self.remark(instance, id, About::KeptForOthers(others));
            return;
        }
        let leave = if runner.projects.len() > 1 { runner.projects.clone() } else { Vec::new() };
        self.push(instance, Step::Delete { id, leave });
    }

    /// Makes a runner of ours what is wanted. Whether it is paused is the admin's business.
    fn align(&mut self, instance: &InstanceName, desired: &DesiredRunner, runner: &Runner) {
        let id = runner.id;
        if let Some((change, fields)) = difference(&desired.runner, runner) {
            self.push(instance, Step::Update { id, change, fields });
        }
        for project in desired.projects.iter().filter(|project| !runner.projects.contains(project)) {
            self.push(instance, Step::Assign { id, project: *project });
        }
        let others = self.projects_of_others(runner);
        if !others.is_empty() {
            self.remark(instance, id, About::AlsoServes(others));
        }
    }

    fn token_is_refused(&self, instance: &InstanceName, id: u64) -> bool {
        match self.facts.remote.tokens.get(instance) {
            Some(TokenState::Valid { runner_id, .. }) => *runner_id != id,
            Some(TokenState::Refused) => true,
            None => false,
        }
    }

    fn projects_of_others(&self, runner: &Runner) -> Vec<u64> {
        let is_ours = |id: &u64| self.facts.owners.contains(&Owner::Project(*id));
        runner.projects.iter().copied().filter(|id| !is_ours(id)).collect()
    }

    fn marked_for(&self, instance: &InstanceName) -> BTreeSet<u64> {
        let is_its = |runner: &&Runner| self.mark_of(runner).as_ref() == Some(instance);
        self.facts.remote.runners.values().filter(is_its).map(|runner| runner.id).collect()
    }

    fn mark_of(&self, runner: &Runner) -> Option<InstanceName> {
        owner_of_note(self.facts.meta_runner, &runner.maintenance_note)
    }

    fn push(&mut self, instance: &InstanceName, step: Step) {
        self.plan.actions.push(Action { instance: instance.clone(), step });
    }

    fn remark(&mut self, instance: &InstanceName, id: u64, about: About) {
        self.plan.remarks.push(Remark { instance: instance.clone(), id, about });
    }
}

/// Whether a runner belongs where it is wanted. It cannot be moved: GitLab keeps the project or group that it was made for.
fn serves(desired: &DesiredRunner, runner: &Runner) -> bool {
    match desired.runner.owner {
        Owner::Group(id) => runner.groups.contains(&id),
        Owner::Project(_) => desired.projects.iter().any(|project| runner.projects.contains(project)),
    }
}

#[cfg(test)]
mod tests;
