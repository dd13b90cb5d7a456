//! Projects and groups: whose a runner is, and who else uses it.

use super::*;

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
