//! What makes launches of one instance useless, and leaves the others alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, silent};

const BIG: &str = "[runners.big]\ntags = [\"big\"]\n";

fn pause(sandbox: &Sandbox, paused: bool) {
    let text = fs::read_to_string(sandbox.path("data/meta.registrations.toml")).unwrap();
    let id = text.split_once("id = ").unwrap().1.lines().next().unwrap();
    let url = format!("{}/api/v4/runners/{id}", sandbox.gitlab.url());
    let request = ureq::put(url).header("PRIVATE-TOKEN", sandbox.gitlab.root_token());
    request.header("Content-Type", "application/json").send(format!("{{\"paused\": {paused}}}")).unwrap();
}

fn asked_for_runner(sandbox: &Sandbox) -> usize {
    let is_look = |r: &&Value| (&r["method"], &r["route"]) == (&json!("GET"), &json!("/api/v4/runners/{id}"));
    sandbox.gitlab.requests().iter().filter(is_look).count()
}

#[test]
fn a_paused_runner_is_left_alone_until_it_is_resumed() {
    let sandbox = Sandbox::new();
    pause(&sandbox, true);
    sandbox.job("big");
    for _ in 0..3 {
        assert_eq!(sandbox.once(), silent());
    }
    assert_eq!((sandbox.queued().len(), asked_for_runner(&sandbox)), (0, 1));
    for command in ["status", "plan"] {
        let run = sandbox.run(&[command]);
        assert!(run.stdout.contains("big: its runner is paused in GitLab"), "{run:?}");
    }
    pause(&sandbox, false);
    sandbox.age(300);
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.queued().len(), asked_for_runner(&sandbox)), (1, 2));
}

#[test]
fn whether_a_runner_is_paused_is_asked_only_while_jobs_wait_for_it() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.once(), silent());
    assert_eq!(asked_for_runner(&sandbox), 0);
    // A token that may not know is no reason to launch nothing.
    let forbidden =
        json!({"status": {"status": 403, "body": {"message": "403 Forbidden - No access granted"}}});
    sandbox.gitlab.add_fault(json!({"route": "GET /api/v4/runners/{id}", "times": 9, "answer": forbidden}));
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.queued().len(), asked_for_runner(&sandbox)), (1, 1));
}

#[test]
fn a_variable_that_one_instance_lacks_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    sandbox.instance("small", json!({}));
    let instances = format!(
        "{BIG}[runners.small]\ntags = [\"small\"]\n[runners.small.config_variables]\nACCOUNT = \"x\"\n"
    );
    sandbox.configure(&instances, "args = [\"--account=$ACCOUNT\"]");
    sandbox.job("big");
    sandbox.job("small");
    let run = sandbox.once();
    assert_eq!((run.code, sandbox.queued().len()), (Some(5), 1), "{run:?}");
    assert!(run.stderr.contains("of instance `big`: `$ACCOUNT` is not set"), "{run:?}");
    assert!(!run.stderr.contains("not registered"), "{run:?}");
    assert_eq!(sandbox.launches()[0]["instance"], "small");
    let run = sandbox.run(&["plan"]);
    assert!(run.stdout.contains("big: its `[launch]` cannot be expanded"), "{run:?}");
}

#[test]
fn launches_are_not_forgotten_while_no_launch_command_can_be_made() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    sandbox.configure(BIG, "args = [\"--account=$ACCOUNT\"]");
    sandbox.age(1000);
    assert_eq!(sandbox.once().code, Some(3));
    assert_eq!(sandbox.states(), ["queued"]);
}

#[test]
fn a_workdir_of_a_group_is_used() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("shared")).unwrap();
    fs::set_permissions(sandbox.path("shared"), Permissions::from_mode(0o775)).unwrap();
    sandbox.configure(BIG, "workdir = \"~/shared\"");
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued().len(), 1);
}

#[test]
fn a_workdir_that_cannot_be_made_stops_its_launches_only() {
    let sandbox = Sandbox::new();
    sandbox.instance("small", json!({}));
    let instances = format!(
        "{BIG}[runners.big.config_variables]\nPLACE = \"config.toml\"\n[runners.small]\ntags = [\"small\"]\n[runners.small.config_variables]\nPLACE = \"fresh\"\n"
    );
    sandbox.configure(&instances, "workdir = \"~/$PLACE/here\"");
    sandbox.job("big");
    sandbox.job("small");
    let run = sandbox.once();
    assert_eq!((run.code, sandbox.queued().len()), (Some(5), 1), "{run:?}");
    assert!(run.stderr.contains("cannot make directory `HOME/config.toml/here`"), "{run:?}");
    assert_eq!(sandbox.launches()[0]["instance"], "small");
}
