//! Tokens that are refused, or end soon.

use super::*;

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
