//! Tokens that expire, that are refused, and what follows from a new one.

use serde_json::json;

use crate::sandbox::Sandbox;

const ONE: &str = "[runners.big]\ntags = [\"a\"]\n";

/// A sandbox with one runner whose token lives for ten days, `age` per cent of which are over.
fn aged(age: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.gitlab.change_settings(json!({"runner_token_lifetime_days": 10}));
    sandbox.configure(ONE);
    assert_eq!(sandbox.run(&[]).code, Some(0));
    sandbox.render(&["big"]);
    sandbox.change_registrations(|registrations| {
        let registration = registrations.get_mut(&"big".parse().unwrap()).unwrap();
        let end = meta_core::time::parse(registration.token_expires_at.as_deref().unwrap()).unwrap();
        let issued = end - 10 * 24 * 3600 * 100 / (100 - age);
        registration.token_issued_at = Some(meta_core::time::format(issued));
    });
    sandbox
}

fn queue(sandbox: &Sandbox, state: &str) {
    let launch = json!({
        "id": "5f1c2e9a", "instance": "big", "elements": 1, "slots": 1, "batch_id": "1",
        "submitted": 1, "changed": 1, "state": state, "reason": null, "jobs": []
    });
    sandbox.write("data/meta.launches.json", &json!({"version": 1, "launches": [launch]}).to_string());
}

fn token(sandbox: &Sandbox) -> String {
    sandbox.parsed_registrations()[&"big".parse().unwrap()].token.reveal().to_owned()
}

#[test]
fn a_token_is_replaced_in_time_and_gitlab_runner_s_configuration_follows() {
    let sandbox = aged(70);
    assert_eq!(sandbox.run(&[]).stdout, "");
    let sandbox = aged(80);
    let old = token(&sandbox);
    for args in [&["--dry-run"][..], &["--rotate"]] {
        assert!(sandbox.run(args).stdout.starts_with("reset token big: runner "));
    }
    let new = token(&sandbox);
    assert_ne!(old, new);
    let generated = sandbox.read("data/meta.gitlab-runner.toml");
    assert!(generated.contains(&new) && !generated.contains(&old));
    sandbox.assert_usable();
    assert_eq!(sandbox.run(&[]).stdout, "");
}

#[test]
fn a_launch_that_is_starting_keeps_its_token_until_that_can_wait_no_longer() {
    let sandbox = aged(80);
    queue(&sandbox, "queued");
    let run = sandbox.run(&["-v"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""));
    assert!(run.stderr.contains("it is renewed when no launch is starting"), "{}", run.stderr);
    assert_eq!(sandbox.run(&[]).stderr, "", "a postponement is no warning");
    queue(&sandbox, "running");
    assert!(sandbox.run(&["--dry-run"]).stdout.starts_with("reset token big"));
    sandbox.write("data/meta.launches.json", "not a ledger");
    assert_eq!(sandbox.run(&["--dry-run"]).stdout, "", "an unknown ledger may have anything in it");

    let sandbox = aged(95);
    queue(&sandbox, "submitting");
    assert!(sandbox.run(&[]).stdout.starts_with("reset token big"));
    sandbox.assert_usable();
}

#[test]
fn a_refused_token_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.run(&[]);
    sandbox.render(&["big"]);
    let id = sandbox.parsed_registrations()[&"big".parse().unwrap()].id;
    // An admin resets it in the web interface.
    sandbox.admin().reset_runner_token(id).unwrap();
    let run = sandbox.run(&[]);
    assert_eq!(run.stdout, format!("reset token big: runner {id}, whose token is refused\n"));
    sandbox.assert_usable();
    assert!(sandbox.read("data/meta.gitlab-runner.toml").contains(&token(&sandbox)));
}

#[test]
fn rotation_alone_touches_nothing_else() {
    let sandbox = aged(80);
    sandbox.configure("[runners.big]\ntags = [\"b\"]\n[runners.new]\ntags = [\"n\"]\n");
    let before = sandbox.gitlab.requests().len();
    assert!(sandbox.run(&["--rotate"]).stdout.starts_with("reset token big"));
    assert_eq!(sandbox.writes(before).len(), 1);
    let plan = sandbox.run(&["--dry-run"]).stdout;
    assert!(plan.contains("update big") && plan.contains("create new"), "{plan}");
}

#[test]
fn the_end_of_a_token_that_was_taken_over_is_learnt() {
    let sandbox = Sandbox::new();
    sandbox.gitlab.change_settings(json!({"runner_token_lifetime_days": 10}));
    sandbox.configure(ONE);
    sandbox.run(&[]);
    let id = sandbox.parsed_registrations()[&"big".parse().unwrap()].id;
    sandbox.write("data/meta.tokens", &format!("[big]\nid = {id}\ntoken = \"{}\"\n", token(&sandbox)));
    std::fs::remove_file(sandbox.path("data/meta.registrations.toml")).unwrap();
    assert_eq!(sandbox.run(&[]).stdout, "");
    let registration = sandbox.parsed_registrations().into_values().next().unwrap();
    assert!(registration.token_expires_at.is_some() && registration.token_issued_at.is_none());
}

#[test]
fn a_management_token_that_ends_soon_is_named() {
    let sandbox = Sandbox::new();
    let token = sandbox.gitlab.create_token(
        json!({"project": "group/project", "scopes": ["api"], "expires_in": 3 * 24 * 3600 + 60}),
    );
    let head = format!("url = \"{}\"\nproject = \"group/project\"", sandbox.gitlab.url());
    sandbox.configure_with(&head, ONE);
    let run = sandbox.finish(sandbox.command(&["--dry-run"]).env("META_RUNNER_MANAGEMENT_TOKEN", token));
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.starts_with("warning: the management token `token "), "{}", run.stderr);
    assert!(run.stderr.ends_with("make a new one, or rotate it in GitLab\n"), "{}", run.stderr);
}
