//! Several projects, and groups: whose jobs are asked for, and what happens when one of them does not answer.

use serde_json::json;

use crate::sandbox::{Sandbox, silent};

const BIG: &str = "[runners.big]\ntags = [\"big\"]\n";

/// With the jobs of these projects.
fn of(sandbox: &Sandbox, scope: &str) {
    let (url, token) = (sandbox.gitlab.url(), sandbox.gitlab.root_token());
    let head = format!("url = \"{url}\"\n{scope}\nmanagement_token = \"{token}\"");
    sandbox.configure_with(&head, BIG, "executable = \"sbatch\"");
}

fn enqueue(sandbox: &Sandbox, project: &str) -> i64 {
    sandbox.gitlab.enqueue(project, json!({ "tags": ["big"], "script": "true" }))
}

/// How often the jobs of a project were asked for.
fn asked_for_jobs(sandbox: &Sandbox) -> usize {
    let requests = sandbox.gitlab.requests();
    requests.iter().filter(|request| request["route"] == "/api/v4/projects/{id}/jobs").count()
}

fn fail_jobs(sandbox: &Sandbox, times: u64) {
    let answer = json!({"status": {"status": 500}});
    sandbox
        .gitlab
        .add_fault(json!({"route": "GET /api/v4/projects/{id}/jobs", "times": times, "answer": answer}));
}

#[test]
fn one_project_that_is_gone_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    sandbox.gitlab.add_project("group/second");
    of(&sandbox, "projects = [\"group/project\", \"group/second\"]");
    assert_eq!(sandbox.once(), silent());
    sandbox.job("big");
    let second = json!({"route": "GET /api/v4/projects/{id}/jobs", "times": 1, "answer": {"status": {"status": 404, "body": {"message": "404 Project Not Found"}}}});
    sandbox.gitlab.add_fault(second);
    let run = sandbox.once();
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains("404"), "{run:?}");
    // Either of them; the next tick sees both.
    assert!(sandbox.once().stderr.contains("it works again"));
    assert_eq!(sandbox.queued().len(), 1);
}

#[test]
fn a_project_that_never_was_there_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    of(&sandbox, "projects = [\"group/gone\", \"group/project\"]");
    sandbox.job("big");
    let run = sandbox.once();
    let expected = "error: project `group/gone` is left out, the others go on: `GET URL/api/v4/projects/group%2Fgone` answered 404 Project Not Found\n\
                    hint: check `project` in the configuration, and that the token's owner is a member of that project\n";
    assert_eq!((run.code, run.stderr.as_str(), sandbox.queued().len()), (Some(5), expected, 1));
    // Told once, and known until the list is made anew.
    let run = sandbox.once();
    assert_eq!((run.code, run.stderr.as_str()), (Some(5), ""));
    assert!(sandbox.run(&["status"]).stdout.contains("trouble with group/gone"));
    sandbox.gitlab.add_project("group/gone");
    sandbox.age(600);
    let run = sandbox.once();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), "warning: group/gone: it works again\n"));
}

#[test]
fn without_any_project_nothing_is_known() {
    let sandbox = Sandbox::new();
    of(&sandbox, "projects = [\"group/gone\", \"group/lost\"]");
    let run = sandbox.once();
    assert_eq!((run.code, run.stderr.contains("group%2Fgone")), (Some(4), true), "{run:?}");
}

#[test]
fn a_group_has_the_jobs_of_its_sub_groups_and_is_listed_now_and_then() {
    let sandbox = Sandbox::new();
    sandbox.gitlab.add_project("group/sub/deep");
    of(&sandbox, "group = \"group\"");
    sandbox.gitlab.enqueue("group/sub/deep", json!({ "tags": ["big"], "script": "true" }));
    for _ in 0..3 {
        assert_eq!(sandbox.once(), silent());
    }
    assert_eq!(sandbox.queued().len(), 1);
    let lists = || {
        let requests = sandbox.gitlab.requests();
        requests.iter().filter(|request| request["route"] == "/api/v4/groups/{id}/projects").count()
    };
    assert_eq!(lists(), 1);
    sandbox.age(600);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(lists(), 2);
}

#[test]
fn one_project_that_makes_gitlab_stumble_does_not_starve_those_behind_it() {
    let sandbox = Sandbox::new();
    sandbox.gitlab.add_project("group/second");
    of(&sandbox, "projects = [\"group/project\", \"group/second\"]");
    enqueue(&sandbox, "group/second");
    fail_jobs(&sandbox, 1);
    let run = sandbox.once();
    assert_eq!((run.code, sandbox.queued().len()), (Some(5), 1), "{run:?}");
    assert_eq!(run.stderr.matches("answered 500").count(), 1, "{run:?}");
}

#[test]
fn a_gitlab_that_stumbles_thrice_in_a_row_is_left_alone_for_now() {
    let sandbox = Sandbox::new();
    for name in ["b", "c", "d", "e"] {
        sandbox.gitlab.add_project(&format!("group/{name}"));
    }
    of(&sandbox, "group = \"group\"");
    fail_jobs(&sandbox, 100);
    let run = sandbox.once();
    assert_eq!((run.code, run.stderr.matches("answered 500").count()), (Some(4), 1), "{run:?}");
    assert_eq!(asked_for_jobs(&sandbox), 3);
}

#[test]
fn a_project_of_a_group_that_has_no_ci_is_passed_over() {
    let sandbox = Sandbox::new();
    sandbox.gitlab.add_project_with(json!({ "path": "group/texts", "builds_enabled": false }));
    of(&sandbox, "group = \"group\"");
    let job = enqueue(&sandbox, "group/project");
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.queued().len(), asked_for_jobs(&sandbox)), (1, 1));
    // Everything is known, so what is surplus is seen.
    sandbox.act_on_job(job, "cancel");
    assert_eq!(sandbox.once(), silent());
    sandbox.age(60);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued(), [""; 0]);
}

#[test]
fn a_project_whose_ci_was_switched_off_just_now_is_noticed() {
    let sandbox = Sandbox::new();
    of(&sandbox, "group = \"group\"");
    sandbox.gitlab.add_project("group/second");
    assert_eq!(sandbox.once(), silent());
    let forbidden = json!({"status": {"status": 403, "body": {"message": "403 Forbidden"}}});
    sandbox.gitlab.add_fault(json!({"route": "GET /api/v4/projects/{id}/jobs", "answer": forbidden}));
    assert_eq!(sandbox.once().code, Some(5));
    assert!(sandbox.once().stderr.contains("it works again"));
    let requests = sandbox.gitlab.requests();
    assert_eq!(
        requests.iter().filter(|request| request["route"] == "/api/v4/groups/{id}/projects").count(),
        2
    );
}

#[test]
fn a_project_that_is_named_and_has_no_ci_is_told() {
    let sandbox = Sandbox::new();
    sandbox.gitlab.add_project_with(json!({ "path": "group/texts", "builds_enabled": false }));
    of(&sandbox, "projects = [\"group/project\", \"group/texts\"]");
    enqueue(&sandbox, "group/project");
    let run = sandbox.once();
    let expected = "error: CI/CD is switched off in project `group/texts`, so it has no jobs\n\
                    hint: switch it on in the project's settings, or take it out of `projects`\n";
    assert_eq!((run.code, run.stderr.as_str(), sandbox.queued().len()), (Some(5), expected, 1));
}
