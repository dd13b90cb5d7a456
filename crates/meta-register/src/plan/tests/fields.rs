//! What is compared between the configuration and a runner in GitLab.

use super::*;

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
