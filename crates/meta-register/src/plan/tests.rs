//! The truth table desired x stored x remote, one row per test.

use super::*;
use expect_test::{Expect, expect};
use meta_core::registrations::Registration;
use meta_core::secret::Secret;
use meta_gitlab::runners::{NewRunner, Owner};

/// A runner as GitLab has it when all is well.
fn runner(id: u64, instance: &str) -> Runner {
    Runner {
        id,
        description: format!("{instance} [meta/{instance}]"),
        paused: false,
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
    DesiredRunner { runner, more_projects: Vec::new() }
}

fn check_desired(
    desired: Vec<(&str, DesiredRunner)>,
    stored: &[(&str, u64)],
    runners: Vec<Runner>,
    expected: &Expect,
) {
    let desired = desired.into_iter().map(|(name, runner)| (name.parse().unwrap(), runner)).collect();
    let registration = |id| Registration { id, token: Secret::new("glrt-x"), token_expires_at: None };
    let stored = stored.iter().map(|(name, id)| (name.parse().unwrap(), registration(*id))).collect();
    let remote = Remote {
        runners: runners.into_iter().map(|runner| (runner.id, runner)).collect(),
        ..Remote::default()
    };
    let (actions, remarks) = plan("meta", &desired, &stored, &remote);
    let lines = actions.iter().map(ToString::to_string).chain(remarks.iter().map(ToString::to_string));
    expected.assert_eq(&lines.map(|line| line + "\n").collect::<String>());
}

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
        runner 5 of `x` does not carry our mark and is left as it is, though it differs: tags [b] -> [a]
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
    let several = DesiredRunner { more_projects: vec![1, 2, 3], ..wanted("x") };
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
