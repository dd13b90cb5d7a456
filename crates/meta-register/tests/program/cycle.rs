//! The life of registrations: created, left alone, changed, lost, deleted.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use meta_gitlab::runners::RunnerChange;
use serde_json::json;

use crate::sandbox::{Run, Sandbox};

const TWO: &str = "[runners.big]\ntags = [\"b\", \"a\"]\n[runners.small]\ntags = [\"s\"]\nprotected = true\n";

fn done(stdout: &str) -> Run {
    Run { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

#[test]
fn creates_then_is_silent_then_updates_then_deletes() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    let plan = "create big: tags [a, b]\ncreate small: tags [s], protected\n";
    assert_eq!(sandbox.run(&["--dry-run"]), done(plan));
    assert_eq!(sandbox.writes(0), [""; 0]);
    assert_eq!(fs::read_dir(sandbox.path("data")).unwrap().count(), 0);

    assert_eq!(sandbox.run(&[]), done(plan));
    let runners = sandbox.runners();
    assert_eq!(runners.len(), 2);
    let saved = sandbox.registrations();
    assert!(saved.contains("[registrations.big]") && saved.contains("token = \"glrt-"), "{saved}");
    let mode = fs::metadata(sandbox.path("data/meta.registrations.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!sandbox.path("data/meta.lease").exists());

    let before = sandbox.gitlab.requests().len();
    assert_eq!(sandbox.run(&[]), done(""));
    assert_eq!(sandbox.writes(before), [""; 0]);

    sandbox.configure("[runners.big]\ntags = [\"a\"]\nrun_untagged = true\n");
    let run = sandbox.run(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["update", "delete"]);
    assert_eq!(sandbox.runners().len(), 1);
    assert!(!sandbox.registrations().contains("small"));
    assert_eq!(sandbox.run(&[]), done(""));
}

#[test]
fn a_lost_file_costs_a_new_token_and_no_runner() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    sandbox.run(&[]);
    let before = sandbox.registrations();
    fs::remove_file(sandbox.path("data/meta.registrations.toml")).unwrap();
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.starts_with("adopt big: runner "), "{}", run.stdout);
    assert_eq!(sandbox.runners().len(), 2);
    assert_ne!(sandbox.registrations(), before);
    assert_eq!(sandbox.run(&[]), done(""));
}

#[test]
fn a_lost_answer_leaves_a_runner_that_the_next_run_adopts() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"a\"]\n");
    sandbox.gitlab.add_fault(json!({"route": "POST /api/v4/user/runners", "answer": "drop_after"}));
    let run = sandbox.run(&[]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_eq!(sandbox.runners().len(), 1);
    let run = sandbox.run(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("adopt big: "), "{}", run.stdout);
    assert_eq!(sandbox.runners().len(), 1);
    assert_eq!(sandbox.run(&[]), done(""));
}

#[test]
fn one_failure_does_not_block_the_others() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    let refusal = json!({"status": {"status": 400, "body": {"message": {"tags_list": ["is bad"]}}}});
    sandbox.gitlab.add_fault(
        json!({"route": "POST /api/v4/user/runners", "body_contains": "meta/big]", "answer": refusal}),
    );
    let run = sandbox.run(&[]);
    assert_eq!(run.code, Some(5));
    let expected = "error: cannot create big: tags [a, b]\n\
                    caused by: `POST URL/api/v4/user/runners` answered 400: tags_list is bad\n";
    assert_eq!(run.stderr, expected);
    assert!(sandbox.registrations().contains("[registrations.small]"));
    assert_eq!(sandbox.run(&[]), done("create big: tags [a, b]\n"));
}

#[test]
fn a_failed_delete_keeps_its_record() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    sandbox.run(&[]);
    sandbox.configure("[runners.big]\ntags = [\"a\", \"b\"]\n");
    let answer = json!({"status": {"status": 403, "body": {"message": "403 Forbidden - No access granted"}}});
    sandbox.gitlab.add_fault(json!({"route": "DELETE /api/v4/runners/{id}", "answer": answer}));
    assert_eq!(sandbox.run(&[]).code, Some(5), "nothing is wrong with `big`");
    assert!(sandbox.registrations().contains("[registrations.small]"));
    assert_eq!(sandbox.run(&[]).code, Some(0));
    assert!(!sandbox.registrations().contains("[registrations.small]"));
    assert_eq!(sandbox.runners().len(), 1);
}

#[test]
fn foreign_runners_are_never_written_to() {
    let sandbox = Sandbox::new();
    let admin = sandbox.admin();
    for number in 0..200 {
        let (id, _) = sandbox.gitlab.add_runner(json!({"path": "group/project", "tags": ["a"]}));
        let description = Some(format!("not ours {number} [meta/big]"));
        let change = RunnerChange { description, ..RunnerChange::default() };
        admin.update_runner(id.try_into().unwrap(), &change).unwrap();
    }
    let before = sandbox.gitlab.requests().len();
    sandbox.configure("[runners.big]\ntags = [\"a\"]\n");
    assert_eq!(sandbox.run(&[]), done("create big: tags [a]\n"));
    assert_eq!(sandbox.writes(before), ["POST /api/v4/user/runners"]);
    let before = sandbox.gitlab.requests().len();
    assert_eq!(sandbox.run(&[]), done(""));
    assert_eq!(sandbox.writes(before), [""; 0]);
    let reads = sandbox.gitlab.requests().split_off(before);
    let one_by_one = reads.iter().filter(|request| request["route"] == "/api/v4/runners/{id}").count();
    assert_eq!(one_by_one, 201, "more than one request for a runner that looks like ours");
}

#[test]
fn users_of_the_reference_keep_their_runners() {
    let sandbox = Sandbox::new();
    let (id, token) =
        sandbox.gitlab.add_runner(json!({"path": "group/project", "tags": ["a"], "run_untagged": false}));
    sandbox.write("data/meta.tokens", &format!("[big]\nid = {id}\ntoken = \"{token}\"\n"));
    sandbox.configure("[runners.big]\ntags = [\"a\"]\n");
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(sandbox.registrations().contains(&token));
    assert_eq!(sandbox.runners().len(), 1);
}

#[test]
fn the_token_may_be_in_a_private_file() {
    let sandbox = Sandbox::new();
    let head = format!(
        "url = \"{}\"\nproject = \"group/project\"\nmanagement_token_file = \"~/token\"",
        sandbox.gitlab.url()
    );
    sandbox.configure_with(&head, "[runners.big]\ntags = [\"a\"]\n");
    sandbox.write("token", &format!("{}\n", sandbox.token));
    assert_eq!(sandbox.run(&["--dry-run"]), done("create big: tags [a]\n"));
    fs::set_permissions(sandbox.path("token"), Permissions::from_mode(0o644)).unwrap();
    let expected = "error: there is no usable management token\n\
                    caused by: cannot use `HOME/token`\n\
                    caused by: group or others may access it (mode 644)\n\
                    hint: run `chmod 600 HOME/token`\n";
    let run = sandbox.run(&["--dry-run"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(3), expected));
}

#[test]
fn a_configuration_without_instances_deletes_them_all() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    sandbox.run(&[]);
    sandbox.configure("[runners]\n");
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.lines().count(), sandbox.runners().len()), (Some(0), 2, 0), "{run:?}");
}
