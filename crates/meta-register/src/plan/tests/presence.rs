//! Which instances are wanted, stored and in GitLab: one row per test.

use super::*;

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
