//! What GitLab, or what stands in front of it, may answer: what is tried again, what is not, and what is left behind.

use serde_json::{Value, json};

use crate::relay::Relay;
use crate::sandbox::{Run, Sandbox};

const ONE: &str = "[runners.big]\ntags = [\"a\"]\n";
const CREATE: &str = "POST /api/v4/user/runners";
const LOOK: &str = "GET /api/v4/runners/{id}";

/// A sandbox with one runner, registered.
fn registered() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    assert_eq!(sandbox.run(&[]).code, Some(0));
    sandbox
}

fn status(status: u16, body: Value) -> Value {
    json!({"status": {"status": status, "body": body}})
}

/// The requests of a route since `skip` of all.
fn count(sandbox: &Sandbox, skip: usize, route: &str) -> usize {
    let is_it = |request: &&Value| {
        format!("{} {}", request["method"].as_str().unwrap(), request["route"].as_str().unwrap()) == route
    };
    sandbox.gitlab.requests()[skip..].iter().filter(is_it).count()
}

/// One wrong answer to a creation: how often it is asked for, and how the run ends.
#[track_caller]
fn check_create(answer: &Value, requests: usize, code: i32) -> Run {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.gitlab.add_fault(json!({"route": CREATE, "answer": answer}));
    let run = sandbox.run(&[]);
    assert_eq!((count(&sandbox, 0, CREATE), run.code), (requests, Some(code)), "{run:?}");
    // Whatever it was: the next run ends well, with one runner.
    assert_eq!(sandbox.run(&[]).code, Some(0));
    assert_eq!(sandbox.runners().len(), 1);
    sandbox.assert_usable();
    run
}

#[test]
fn what_was_not_processed_is_asked_again() {
    check_create(&json!({"throttle": {"retry_after": 1}}), 2, 0);
    check_create(&json!("limiter"), 2, 0);
    check_create(&status(409, json!({"message": "409 Conflict: Resource lock"})), 2, 0);
}

#[test]
fn what_may_have_been_processed_is_not_asked_again() {
    check_create(&status(500, json!({"message": "500 Internal Server Error"})), 1, 4);
    check_create(&status(502, json!("<html>bad gateway</html>")), 1, 4);
    check_create(&json!("drop"), 1, 4);
    check_create(&json!("drop_after"), 1, 4);
}

#[test]
fn a_long_wait_is_left_to_the_next_run() {
    let run = check_create(&json!({"throttle": {"retry_after": 3600}}), 1, 4);
    assert!(run.stderr.contains("hint: too many requests: try again later"), "{}", run.stderr);
}

#[test]
fn what_is_wrong_with_one_instance_is_said_and_not_repeated() {
    let body = json!({"error": "insufficient_scope", "error_description": "no", "scope": "api"});
    assert!(check_create(&status(403, body), 1, 4).stderr.contains("lacks the scope create_runner"));
    let body = json!({"message": "403 Forbidden - Insufficient permissions"});
    assert!(check_create(&status(403, body), 1, 4).stderr.contains("hint: the token's owner needs the role"));
    check_create(&status(400, json!({"message": "Tags list is bad"})), 1, 4);
}

/// One wrong answer to a look at a stored runner: nothing may be lost by it.
#[track_caller]
fn check_look(answer: &Value, times: u64, requests: usize, code: i32) -> Run {
    let sandbox = registered();
    let before = sandbox.gitlab.requests().len();
    sandbox.gitlab.add_fault(json!({"route": LOOK, "times": times, "answer": answer}));
    let registrations = sandbox.registrations();
    let run = sandbox.run(&[]);
    assert_eq!((count(&sandbox, before, LOOK), run.code), (requests, Some(code)), "{run:?}");
    assert_eq!(sandbox.registrations(), registrations);
    assert_eq!(sandbox.writes(before), [""; 0]);
    run
}

#[test]
fn a_look_is_repeated_where_that_can_help_and_not_for_ever() {
    check_look(&json!({"throttle": {"retry_after": 0}}), 1, 2, 0);
    check_look(&json!("limiter"), 1, 2, 0);
    check_look(&status(503, json!("<html>")), 1, 2, 0);
    check_look(&json!("drop"), 1, 2, 0);
    check_look(&status(200, json!("{\"id\": 5, \"descr")), 1, 2, 0);
    check_look(&status(500, json!({"message": "500"})), 1, 1, 4);
    let run = check_look(&status(504, json!("<html>")), 100, 4, 4);
    assert!(run.stderr.contains("hint: GitLab has a problem or is being updated"), "{}", run.stderr);
}

#[test]
fn a_page_of_a_proxy_is_not_a_runner_that_is_gone() {
    let run = check_look(&status(404, json!("<html>no such page</html>")), 1, 1, 4);
    assert!(run.stderr.contains("hint: this is no answer of GitLab's API"), "{}", run.stderr);
}

#[test]
fn a_runner_that_we_may_not_see_is_left_alone_and_the_others_go_on() {
    let sandbox = registered();
    sandbox.configure(&format!("{ONE}[runners.new]\ntags = [\"n\"]\n"));
    sandbox.gitlab.add_fault(
        json!({"route": LOOK, "answer": status(403, json!({"message": "403 Forbidden - No access granted"}))}),
    );
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(5), "create new: tags [n]\n"), "{run:?}");
    assert!(run.stderr.starts_with("error: cannot look at runner "), "{}", run.stderr);
    assert!(sandbox.registrations().contains("[registrations.big]"));
}

#[test]
fn trouble_with_one_runner_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    let three = format!("{ONE}[runners.mid]\ntags = [\"m\"]\n[runners.old]\ntags = [\"o\"]\n");
    sandbox.configure(&three);
    sandbox.run(&[]);
    sandbox.configure(&format!("{three}[runners.new]\ntags = [\"n\"]\n"));
    let broken = status(500, json!({"message": "500"}));
    sandbox.gitlab.add_fault(json!({"route": LOOK, "answer": broken}));
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(5), "create new: tags [n]\n"), "{run:?}");
    assert!(run.stderr.starts_with("error: cannot look at runner "), "{}", run.stderr);
    assert_eq!(sandbox.run(&[]).code, Some(0));
    assert_eq!(sandbox.runners().len(), 4);
}

#[test]
fn trouble_with_a_runner_that_lost_its_record_makes_no_second_one() {
    let sandbox = registered();
    sandbox.configure(&format!("{ONE}[runners.new]\ntags = [\"n\"]\n"));
    sandbox.run(&[]);
    sandbox.change_registrations(|registrations| {
        registrations.remove(&"big".parse().unwrap());
    });
    let broken = status(500, json!({"message": "500"}));
    sandbox.gitlab.add_fault(json!({"route": LOOK, "answer": broken}));
    let run = sandbox.run(&[]);
    // Whichever of the two it hits.
    assert!(run.code == Some(5) && !run.stdout.contains("create"), "{run:?}");
    assert_eq!(sandbox.runners().len(), 2);
}

#[test]
fn a_way_that_breaks_down_stops_the_run() {
    let sandbox = Sandbox::new();
    let instances: String = (0..9).map(|n| format!("[runners.i{n}]\ntags = [\"t{n}\"]\n")).collect();
    sandbox.configure(&instances);
    let broken = status(500, json!({"message": "500"}));
    sandbox.gitlab.add_fault(json!({"route": CREATE, "skip": 2, "times": 100, "answer": broken}));
    let run = sandbox.run(&[]);
    assert_eq!((count(&sandbox, 0, CREATE), run.code), (5, Some(5)), "{run:?}");
    assert!(
        run.stderr.ends_with("error: 4 of 9 actions were not tried: run the command again\n"),
        "{}",
        run.stderr
    );
    sandbox.assert_usable();
}

#[test]
fn an_answer_that_is_cut_off_costs_a_token_and_no_runner() {
    let sandbox = Sandbox::new();
    let relay = Relay::new();
    let cut = |first: &str, answer: Vec<u8>| match first.starts_with("POST /api/v4/user/runners ") {
        true => answer[..answer.len() - 40].to_vec(),
        false => answer,
    };
    relay.pass_on(sandbox.gitlab.address(), str::to_owned, cut);
    let head = |url: &str| {
        format!("url = \"{url}\"\nproject = \"group/project\"\nmanagement_token = \"{}\"", sandbox.token)
    };
    sandbox.configure_with(&head(&format!("http://{}", relay.address())), ONE);
    let run = sandbox.run(&[]);
    assert_eq!((run.code, count(&sandbox, 0, CREATE)), (Some(4), 1), "{run:?}");
    assert!(!run.stderr.contains("glrt-"), "{}", run.stderr);
    let run = sandbox.run(&[]);
    assert!(run.stdout.starts_with("adopt big: runner "), "{run:?}");
    assert_eq!(sandbox.runners().len(), 1);
    sandbox.assert_usable();
}
