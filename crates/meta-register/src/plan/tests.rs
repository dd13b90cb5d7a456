//! The truth table desired x stored x remote, one row per test.

use super::*;
use expect_test::{Expect, expect};
use meta_core::registrations::Registration;
use meta_core::secret::Secret;
use meta_core::time;
use meta_gitlab::runners::{NewRunner, Owner};

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

#[test]
fn all_is_well() {
    check(&["x"], &[("x", 5)], vec![runner(5, "x")], &expect![""]);
}

#[test]
fn wanted_and_nowhere() {
    check(
        &["x", "y"],
        &[],
        vec![],
        &expect![[r#"
        create x: tags [a]
        create y: tags [a]
    "#]],
    );
}

#[test]
fn wanted_and_stored_but_gone() {
    check(
        &["x"],
        &[("x", 5)],
        vec![],
        &expect![[r#"
        recreate x: tags [a]; runner 5 is gone
    "#]],
    );
}

#[test]
fn wanted_and_there_but_not_stored() {
    check(
        &["x"],
        &[],
        vec![runner(5, "x")],
        &expect![[r#"
        adopt x: runner 5, with a new token
    "#]],
    );
}

#[test]
fn wanted_and_there_twice_but_not_stored() {
    check(
        &["x"],
        &[],
        vec![runner(5, "x"), runner(6, "x")],
        &expect![[r#"
        adopt x: runner 6, with a new token
        delete x: runner 5
    "#]],
    );
}

#[test]
fn wanted_stored_and_there_twice() {
    check(
        &["x"],
        &[("x", 5)],
        vec![runner(5, "x"), runner(6, "x")],
        &expect![[r#"
        delete x: runner 6
    "#]],
    );
}

#[test]
fn stored_one_is_gone_and_another_one_is_ours() {
    check(
        &["x"],
        &[("x", 5)],
        vec![runner(6, "x")],
        &expect![[r#"
        adopt x: runner 6, with a new token
    "#]],
    );
}

#[test]
fn not_wanted_but_stored_and_there() {
    check(
        &[],
        &[("x", 5)],
        vec![runner(5, "x")],
        &expect![[r#"
        delete x: runner 5
    "#]],
    );
}

#[test]
fn not_wanted_and_not_stored_but_ours() {
    check(
        &[],
        &[],
        vec![runner(5, "x")],
        &expect![[r#"
        delete x: runner 5
    "#]],
    );
}

#[test]
fn not_wanted_but_stored_and_gone() {
    check(
        &[],
        &[("x", 5)],
        vec![],
        &expect![[r#"
        forget x: runner 5 is gone
    "#]],
    );
}

#[test]
fn not_wanted_and_stored_but_not_ours() {
    check(
        &[],
        &[("x", 5)],
        vec![foreign(5, "x")],
        &expect![[r#"
        forget x: runner 5 does not carry our mark and stays
    "#]],
    );
}

#[test]
fn stored_under_another_instance_s_mark() {
    check(
        &["x"],
        &[("x", 5)],
        vec![runner(5, "y")],
        &expect![[r#"
        create x: tags [a]
        delete y: runner 5
    "#]],
    );
}

#[test]
fn foreign_with_our_description_is_never_touched() {
    check(&[], &[], vec![foreign(5, "x")], &expect![""]);
    check(
        &["x"],
        &[],
        vec![foreign(5, "x")],
        &expect![[r#"
        create x: tags [a]
    "#]],
    );
}

#[test]
fn stored_without_mark_is_used_and_only_remarked_on() {
    check(&["x"], &[("x", 5)], vec![foreign(5, "x")], &expect![""]);
    let other = Runner { tags: vec!["b".to_owned()], ..foreign(5, "x") };
    check(
        &["x"],
        &[("x", 5)],
        vec![other],
        &expect![[r#"
        (runner 5 of `x` does not carry our mark and is left as it is, though it differs: tags [b] -> [a])
    "#]],
    );
}

#[test]
fn paused_by_an_admin_stays_paused() {
    check(&["x"], &[("x", 5)], vec![Runner { paused: true, ..runner(5, "x") }], &expect![""]);
}

#[test]
fn every_field_is_compared() {
    let differs = Runner {
        description: "old [meta/x]".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        run_untagged: true,
        protected: true,
        locked: false,
        maximum_timeout_s: Some(3600),
        ..runner(5, "x")
    };
    check(
        &["x"],
        &[("x", 5)],
        vec![differs],
        &expect![[r#"
        update x: runner 5, description "old [meta/x]" -> "x [meta/x]", tags [a, b] -> [a], run_untagged true -> false, protected true -> false, locked false -> true, maximum_timeout 3600 -> none
    "#]],
    );
}

#[test]
fn adopted_ones_are_updated_too() {
    check(
        &["x"],
        &[],
        vec![Runner { run_untagged: true, ..runner(5, "x") }],
        &expect![[r#"
        adopt x: runner 5, with a new token
        update x: runner 5, run_untagged true -> false
    "#]],
    );
}

#[test]
fn further_projects_are_assigned() {
    let several = DesiredRunner { projects: vec![1, 2, 3], ..wanted("x") };
    let serves = Runner { projects: vec![1, 3], ..runner(5, "x") };
    check_desired(
        vec![("x", several)],
        &[("x", 5)],
        vec![serves],
        &expect![[r#"
        assign x: runner 5 to project 2
    "#]],
    );
}

#[test]
fn a_rename_creates_before_it_deletes() {
    check(
        &["z"],
        &[("x", 5)],
        vec![runner(5, "x")],
        &expect![[r#"
        create z: tags [a]
        delete x: runner 5
    "#]],
    );
}

#[test]
fn projects_that_come_in_front_are_assigned_too() {
    let several = DesiredRunner { projects: vec![1, 2], ..wanted("x") };
    let serves = Runner { projects: vec![2], ..runner(5, "x") };
    check_desired(
        vec![("x", several)],
        &[("x", 5)],
        vec![serves],
        &expect![[r#"
        assign x: runner 5 to project 1
    "#]],
    );
}

#[test]
fn a_runner_that_serves_more_projects_is_kept_and_remarked_on() {
    let serves = Runner { projects: vec![1, 7], ..runner(5, "x") };
    check(
        &["x"],
        &[("x", 5)],
        vec![serves],
        &expect![[r#"
        (runner 5 of `x` also serves project 7: name what is missing in `projects`, or unassign it)
    "#]],
    );
}

#[test]
fn a_runner_that_others_use_is_never_deleted() {
    let serves = Runner { projects: vec![1, 7, 8], ..runner(5, "x") };
    check(
        &[],
        &[("x", 5)],
        vec![serves.clone()],
        &expect![[r#"
        (runner 5 of `x` is not wanted any more, but projects 7, 8 use it: it stays until it is unassigned there)
    "#]],
    );
    let duplicate = Runner { id: 4, ..serves };
    check(
        &["x"],
        &[("x", 5)],
        vec![duplicate, runner(5, "x")],
        &expect![[r#"
        (runner 4 of `x` is not wanted any more, but projects 7, 8 use it: it stays until it is unassigned there)
    "#]],
    );
}

#[test]
fn a_runner_of_several_of_our_projects_leaves_them_before_it_is_deleted() {
    let serves = Runner { projects: vec![1, 3], ..runner(5, "x") };
    check(
        &[],
        &[("x", 5)],
        vec![serves],
        &expect![[r#"
        delete x: runner 5 of projects 1, 3
    "#]],
    );
}

#[test]
fn the_configuration_moved_to_another_project() {
    let left = Runner { projects: vec![9], ..runner(5, "x") };
    check(
        &["x"],
        &[("x", 5)],
        vec![left.clone()],
        &expect![[r#"
        recreate x: tags [a]; runner 5 belongs to another project or group and is deleted first
    "#]],
    );
    let shared = Runner { projects: vec![8, 9], ..left.clone() };
    check(
        &["x"],
        &[("x", 5)],
        vec![shared],
        &expect![[r#"
        recreate x: tags [a]; runner 5 belongs to another project or group and stays
    "#]],
    );
    let unmarked = Runner { maintenance_note: String::new(), ..left };
    check(
        &["x"],
        &[("x", 5)],
        vec![unmarked],
        &expect![[r#"
        recreate x: tags [a]; runner 5 belongs to another project or group and stays
    "#]],
    );
}

#[test]
fn a_group_s_runner_belongs_to_the_group() {
    let mut of_group = wanted("x");
    of_group.projects = Vec::new();
    of_group.runner.owner = Owner::Group(4);
    let right = Runner { projects: Vec::new(), groups: vec![4], locked: false, ..runner(5, "x") };
    let wrong = Runner { groups: vec![3], ..right.clone() };
    let row = |runner| (vec![("x", of_group.clone())], &[("x", 5)], vec![runner]);
    let (desired, ids, runners) = row(right);
    check_desired(desired, ids, runners, &expect![[""]]);
    let (desired, ids, runners) = row(wrong);
    check_desired(
        desired,
        ids,
        runners,
        &expect![[r#"
        recreate x: tags [a]; runner 5 belongs to another project or group and is deleted first
    "#]],
    );
}

#[track_caller]
fn check_token(
    stored: Registration,
    state: Option<TokenState>,
    starting: &[&str],
    runner: Runner,
    expected: &Expect,
) {
    Row {
        desired: vec![("x", wanted("x"))],
        stored: vec![("x", stored)],
        runners: vec![runner],
        tokens: state.into_iter().map(|state| ("x", state)).collect(),
        starting,
    }
    .check(expected);
}

#[test]
fn a_refused_token_is_reset() {
    let reset = expect![[r#"
        reset token x: runner 5, whose token is refused
    "#]];
    check_token(stored(5), Some(TokenState::Refused), &["x"], runner(5, "x"), &reset);
    let of_another = TokenState::Valid { runner_id: 6, expires_at: None };
    check_token(stored(5), Some(of_another), &[], runner(5, "x"), &reset);
    let valid = TokenState::Valid { runner_id: 5, expires_at: None };
    check_token(stored(5), Some(valid), &[], runner(5, "x"), &expect![[""]]);
}

#[test]
fn a_refused_token_of_a_runner_without_our_mark_costs_a_new_runner() {
    check_token(
        stored(5),
        Some(TokenState::Refused),
        &[],
        foreign(5, "x"),
        &expect![[r#"
        recreate x: tags [a]; runner 5 does not carry our mark and stays, but its token is refused
    "#]],
    );
}

#[test]
fn a_token_is_replaced_when_three_quarters_of_its_life_are_over() {
    let young = expiring(5, "2026-09-15", "2026-12-24");
    check_token(young, None, &[], runner(5, "x"), &expect![[""]]);
    let due = expiring(5, "2026-09-05", "2026-12-14");
    check_token(
        due.clone(),
        None,
        &[],
        runner(5, "x"),
        &expect![[r#"
        reset token x: runner 5, whose token expires at 2026-12-14
    "#]],
    );
    check_token(
        due,
        None,
        &["x"],
        runner(5, "x"),
        &expect![[r#"
        (runner 5 of `x` has a token that expires at 2026-12-14; it is renewed when no launch is starting)
    "#]],
    );
}

#[test]
fn what_ends_soon_does_not_wait_for_launches() {
    for end in ["2026-11-26", "2026-11-23"] {
        let plan = Row {
            desired: vec![("x", wanted("x"))],
            stored: vec![("x", expiring(5, "2026-08-18", end))],
            runners: vec![runner(5, "x")],
            starting: &["x"],
            ..Row::new()
        }
        .plan();
        let reason = ResetReason::Expires(end.to_owned());
        assert_eq!(plan.actions[0].step, Step::ResetToken { id: 5, reason });
    }
}

#[test]
fn the_token_of_a_runner_without_our_mark_is_only_remarked_on() {
    let due = expiring(5, "2026-09-05", "2026-12-14");
    check_token(
        due,
        None,
        &[],
        foreign(5, "x"),
        &expect![[r#"
        (runner 5 of `x` does not carry our mark, so its token is not renewed; it expires at 2026-12-14)
    "#]],
    );
}

#[test]
fn nothing_to_do_is_an_empty_plan() {
    assert_eq!(Row::new().plan(), Plan::default());
}

#[test]
fn what_another_user_of_the_name_has_at_work_is_not_deleted() {
    let online = |id, instance| Runner { online: true, ..runner(id, instance) };
    check(
        &["x"],
        &[("x", 5), ("old", 6)],
        vec![online(5, "x"), online(6, "old"), online(7, "theirs"), runner(8, "left"), online(9, "x")],
        &expect![[r#"
            delete left: runner 8
            delete old: runner 6
            (runner 9 of `x` is not wanted here, but was at work within two hours, and no file here knows it: it stays. If another configuration with the same `name` uses it, give this one another name; else delete it in GitLab)
            (runner 7 of `theirs` is not wanted here, but was at work within two hours, and no file here knows it: it stays. If another configuration with the same `name` uses it, give this one another name; else delete it in GitLab)
        "#]],
    );
}
