//! Runners of several projects, of a group, and their settings.

use meta_gitlab::runners::RunnerChange;
use serde_json::{Value, json};

use crate::sandbox::{ALL_SCOPES, Sandbox};

const ONE: &str = "[runners.big]\ntags = [\"a\"]\n";

/// Projects `group/project` and `group/more`, and a configuration with these and a token that may use them.
fn configure(sandbox: &Sandbox, scope: &str, instances: &str) {
    let token = sandbox.gitlab.create_token(json!({"group": "group", "scopes": ["api"], "role": "owner"}));
    let head = format!("url = \"{}\"\nmanagement_token = \"{token}\"\n{scope}", sandbox.gitlab.url());
    sandbox.configure_with(&head, instances);
}

fn two_projects() -> (Sandbox, i64, i64) {
    let sandbox = Sandbox::new();
    let more = sandbox.gitlab.add_project("group/more");
    let first = sandbox.gitlab.state()["projects"][0]["id"].as_i64().unwrap();
    (sandbox, first, more)
}

fn only_runner(sandbox: &Sandbox) -> Value {
    let mut runners = sandbox.runners();
    assert_eq!(runners.len(), 1, "{runners:?}");
    runners.remove(0)
}

#[test]
fn several_projects_share_a_runner_until_it_is_deleted() {
    let (sandbox, first, more) = two_projects();
    let both = "projects = [\"group/more\", \"group/project\"]";
    configure(&sandbox, both, ONE);
    assert_eq!(sandbox.run(&[]).stdout, "create big: tags [a]\n");
    let runner = only_runner(&sandbox);
    assert_eq!((&runner["projects"], &runner["locked"]), (&json!([more, first]), &json!(false)));
    assert_eq!(sandbox.run(&[]).stdout, "");

    configure(&sandbox, both, "[runners.other]\ntags = [\"o\"]\n");
    let run = sandbox.run(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout.lines().count(), 2, "{run:?}");
    assert_eq!(only_runner(&sandbox)["tags"], json!(["o"]));
}

#[test]
fn a_project_that_is_added_gets_the_runners_that_are_there() {
    let (sandbox, first, more) = two_projects();
    configure(&sandbox, "project = \"group/project\"", ONE);
    sandbox.run(&[]);
    assert_eq!(only_runner(&sandbox)["locked"], json!(true));
    // It comes first by name, and does not own the runner.
    configure(&sandbox, "projects = [\"group/more\", \"group/project\"]", ONE);
    let run = sandbox.run(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(only_runner(&sandbox)["projects"], json!([first, more]));
    assert_eq!(sandbox.run(&[]).stdout, "");
    // And when it leaves, nothing is taken away that somebody may have given.
    configure(&sandbox, "project = \"group/project\"", "[runners.big]\ntags = [\"a\"]\nlocked = false\n");
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains(&format!("also serves project {more}")), "{}", run.stderr);
}

#[test]
fn a_runner_that_others_use_stays() {
    let (sandbox, _, _) = two_projects();
    let other = sandbox.gitlab.add_project("elsewhere/project").try_into().unwrap();
    let instance = "[runners.big]\ntags = [\"a\"]\nlocked = false\n";
    configure(&sandbox, "project = \"group/project\"", instance);
    sandbox.run(&[]);
    let id = only_runner(&sandbox)["id"].as_u64().unwrap();
    sandbox.admin().assign_runner(id, other).unwrap();
    configure(&sandbox, "project = \"group/project\"", "[runners.new]\ntags = [\"n\"]\n");
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "create new: tags [n]\n"), "{run:?}");
    assert!(run.stderr.contains("it stays until it is unassigned there"), "{}", run.stderr);
    assert!(sandbox.registrations().contains("[registrations.big]"));
    sandbox.admin().unassign_runner(id, other).unwrap();
    assert_eq!(sandbox.run(&[]).stdout, format!("delete big: runner {id}\n"));
}

#[test]
fn a_configuration_that_moves_takes_its_runners_along() {
    let (sandbox, _, more) = two_projects();
    configure(&sandbox, "project = \"group/project\"", ONE);
    sandbox.run(&[]);
    configure(&sandbox, "project = \"group/more\"", ONE);
    let run = sandbox.run(&[]);
    assert!(run.stdout.starts_with("recreate big: tags [a]; runner "), "{run:?}");
    assert_eq!(only_runner(&sandbox)["projects"], json!([more]));
    sandbox.assert_usable();
    assert_eq!(sandbox.run(&[]).stdout, "");
}

#[test]
fn a_group_has_runners_of_its_own() {
    let (sandbox, _, _) = two_projects();
    configure(&sandbox, "group = \"group\"", "[runners.big]\ntags = [\"a\"]\nrun_untagged = true\n");
    assert_eq!(sandbox.run(&[]).stdout, "create big: tags [a], run_untagged\n");
    let runner = only_runner(&sandbox);
    assert_eq!((&runner["type"], &runner["run_untagged"]), (&json!("group_type"), &json!(true)));
    assert_eq!(sandbox.run(&[]).stdout, "");
    configure(&sandbox, "group = \"group\"", "[runners.new]\ntags = [\"a\"]\n");
    assert_eq!(sandbox.run(&[]).code, Some(0));
    assert_eq!(only_runner(&sandbox)["run_untagged"], json!(false));
}

#[test]
fn every_setting_reaches_gitlab_and_comes_back_when_somebody_changes_it() {
    let sandbox = Sandbox::with(gitlab_stand_in::Options::default(), &ALL_SCOPES);
    let instance = "[runners.big]\ntags = [\"a\"]\nrun_untagged = true\nprotected = true\nlocked = false\n\
                    maximum_timeout = 3600\ndescription = \"GPU nodes\"\n";
    sandbox.configure(instance);
    sandbox.run(&[]);
    let runner = only_runner(&sandbox);
    let settings = |runner: &Value| {
        ["description", "tags", "run_untagged", "protected", "locked", "maximum_timeout"]
            .map(|key| runner[key].clone())
    };
    let wanted =
        [json!("GPU nodes [meta/big]"), json!(["a"]), json!(true), json!(true), json!(false), json!(3600)];
    assert_eq!(settings(&runner), wanted);
    let change = RunnerChange {
        description: Some("mine".to_owned()),
        tags: Some(vec!["b".to_owned()]),
        run_untagged: Some(false),
        protected: Some(false),
        locked: Some(true),
        maximum_timeout_s: Some(None),
    };
    let id = runner["id"].as_u64().unwrap();
    sandbox.admin().update_runner(id, &change).unwrap();
    let line = format!(
        "update big: runner {id}, description \"mine\" -> \"GPU nodes [meta/big]\", tags [b] -> [a], \
         run_untagged false -> true, protected false -> true, locked true -> false, maximum_timeout none -> 3600\n"
    );
    assert_eq!(sandbox.run(&[]).stdout, line);
    assert_eq!(settings(&only_runner(&sandbox)), wanted);
}
