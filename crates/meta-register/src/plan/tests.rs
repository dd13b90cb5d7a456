//! The truth table desired x stored x remote, one row per test.

use super::*;
use expect_test::{Expect, expect};
use meta_core::registrations::Registration;
use meta_core::secret::Secret;
use meta_core::time;
use meta_gitlab::runners::{NewRunner, Owner};

mod fields;
mod owners;
mod presence;
mod tokens;

/// A runner as GitLab has it when all is well.
fn runner(id: u64, instance: &str) -> Runner {
    Runner {
        id,
        description: format!("{instance} [meta/{instance}]"),
        paused: false,
        online: false,
        tags: vec!["a".to_owned()],
        run_untagged: false,
        protected: false,
        locked: true,
        maximum_timeout_s: None,
        maintenance_note: format!("managed-by: gitlab-meta-runner/meta/{instance}"),
        projects: vec![1],
        groups: Vec::new(),
    }
}

fn foreign(id: u64, instance: &str) -> Runner {
    Runner { maintenance_note: String::new(), ..runner(id, instance) }
}

fn wanted(instance: &str) -> DesiredRunner {
    let runner = NewRunner {
        owner: Owner::Project(1),
        description: format!("{instance} [meta/{instance}]"),
        tags: vec!["a".to_owned()],
        run_untagged: false,
        protected: false,
        locked: true,
        maximum_timeout_s: None,
        maintenance_note: format!("managed-by: gitlab-meta-runner/meta/{instance}"),
    };
    DesiredRunner { runner, projects: vec![1] }
}

/// One row of the table. Projects 1 to 3 are ours.
struct Row<'a> {
    desired: Vec<(&'a str, DesiredRunner)>,
    stored: Vec<(&'a str, Registration)>,
    runners: Vec<Runner>,
    tokens: Vec<(&'a str, TokenState)>,
    starting: &'a [&'a str],
}

impl Row<'_> {
    fn new() -> Self {
        Row { desired: vec![], stored: vec![], runners: vec![], tokens: vec![], starting: &[] }
    }

    fn plan(self) -> Plan {
        let name = |name: &str| name.parse::<InstanceName>().unwrap();
        let remote = Remote {
            runners: self.runners.into_iter().map(|runner| (runner.id, runner)).collect(),
            tokens: self.tokens.into_iter().map(|(instance, state)| (name(instance), state)).collect(),
            ..Remote::default()
        };
        plan(&Facts {
            meta_runner: "meta",
            owners: &[Owner::Project(1), Owner::Project(2), Owner::Project(3)],
            desired: &self.desired.into_iter().map(|(instance, runner)| (name(instance), runner)).collect(),
            stored: &self.stored.into_iter().map(|(instance, stored)| (name(instance), stored)).collect(),
            remote: &remote,
            now: time::parse("2026-11-24").unwrap(),
            starting: &self.starting.iter().map(|instance| name(instance)).collect(),
        })
    }

    #[track_caller]
    fn check(self, expected: &Expect) {
        let plan = self.plan();
        let lines = plan.actions.iter().map(ToString::to_string);
        let lines = lines.chain(plan.remarks.iter().map(|remark| format!("({remark})")));
        expected.assert_eq(&lines.map(|line| line + "\n").collect::<String>());
    }
}

fn stored(id: u64) -> Registration {
    Registration { id, token: Secret::new("glrt-x"), token_issued_at: None, token_expires_at: None }
}

/// A token of a hundred days that ends on a day.
fn expiring(id: u64, issued: &str, end: &str) -> Registration {
    let (issued, end) = (Some(issued.to_owned()), Some(end.to_owned()));
    Registration { token_issued_at: issued, token_expires_at: end, ..stored(id) }
}

#[track_caller]
fn check_desired(
    desired: Vec<(&str, DesiredRunner)>,
    ids: &[(&str, u64)],
    runners: Vec<Runner>,
    expected: &Expect,
) {
    let stored = ids.iter().map(|(name, id)| (*name, stored(*id))).collect();
    Row { desired, stored, runners, ..Row::new() }.check(expected);
}

#[track_caller]
fn check(desired: &[&str], stored: &[(&str, u64)], runners: Vec<Runner>, expected: &Expect) {
    check_desired(desired.iter().map(|name| (*name, wanted(name))).collect(), stored, runners, expected);
}
