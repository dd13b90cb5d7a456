//! The client against the GitLab stand-in: pages, retries, and calls with a runner's token.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gitlab_stand_in::{Options, StandIn};
use meta_core::secret::Secret;
use meta_gitlab::jobs::JobStatus;
use meta_gitlab::runner_token::TokenState;
use meta_gitlab::runners::{NewRunner, Owner};
use meta_gitlab::{Client, ClientSettings, ErrorKind, Proxies};
use serde_json::json;

/// A server with one project, a client, and the waits that it asked for.
struct Bench {
    gitlab: StandIn,
    project: u64,
    client: Client,
    waits: Arc<Mutex<Vec<Duration>>>,
}

fn bench() -> Bench {
    bench_of(Options::default(), |gitlab| gitlab.url().to_owned())
}

/// A bench whose client is told another address than the server's own.
#[expect(clippy::unwrap_used, reason = "a bench that cannot be made fails its test")]
fn bench_of(options: Options, url: impl Fn(&StandIn) -> String) -> Bench {
    let gitlab = StandIn::start(options).unwrap();
    let project = gitlab.add_project("group/project").try_into().unwrap();
    let token = gitlab.project_token("group/project", &["read_api", "create_runner", "manage_runner"]);
    let settings = ClientSettings {
        url: url(&gitlab),
        token: Secret::new(token),
        ca_file: None,
        proxies: Proxies::default(),
        timeout: Duration::from_secs(30),
    };
    let waits = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&waits);
    let client = Client::new(settings, move |wait| noted.lock().unwrap().push(wait)).unwrap();
    Bench { gitlab, project, client, waits }
}

fn new_runner(project: u64) -> NewRunner {
    NewRunner {
        owner: Owner::Project(project),
        description: "nodes [meta/x]".to_owned(),
        tags: vec!["b".to_owned(), "a".to_owned()],
        run_untagged: false,
        protected: true,
        locked: true,
        maximum_timeout_s: Some(3600),
        maintenance_note: "managed-by: gitlab-meta-runner/meta/x".to_owned(),
    }
}

#[test]
fn a_runner_is_created_as_asked_for() {
    let Bench { gitlab: _running, client, project, .. } = bench();
    let wanted = new_runner(project);
    let (id, issued) = client.create_runner(&wanted).unwrap();
    assert!(issued.token.reveal().starts_with("glrt-"));
    let runner = client.runner(id).unwrap();
    assert_eq!(runner.tags, ["a", "b"]);
    assert_eq!((runner.description, runner.maintenance_note), (wanted.description, wanted.maintenance_note));
    assert_eq!((runner.protected, runner.locked, runner.run_untagged), (true, true, false));
    assert_eq!((runner.maximum_timeout_s, runner.projects), (Some(3600), vec![project]));
    let listed = client.runners_of(Owner::Project(project)).unwrap();
    assert_eq!(listed.iter().map(|runner| runner.id).collect::<Vec<_>>(), [id]);
    client.delete_runner(id).unwrap();
    assert!(client.runner(id).unwrap_err().is_not_found());
}

#[test]
fn jobs_come_oldest_first_over_several_pages_up_to_the_limit() {
    let Bench { gitlab, client, project, .. } = bench();
    let ids: Vec<u64> = (0..230)
        .map(|_| {
            gitlab.enqueue("group/project", json!({"tags": ["a"], "script": "true"})).try_into().unwrap()
        })
        .collect();
    let all = client.open_jobs(project, |_| false).unwrap();
    assert_eq!(all.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    assert!(!all.more);
    let job = &all.jobs[0];
    assert_eq!((job.status, job.runner_id), (JobStatus::Pending, None));
    assert_eq!((job.tags.as_slice(), job.git_ref.as_str()), (["a".to_owned()].as_slice(), "main"));
    let before = client.requests();
    let some = client.open_jobs(project, |jobs| jobs.len() >= 150).unwrap();
    assert_eq!((some.jobs.len(), some.more, client.requests() - before), (200, true, 2));
    let exact = client.open_jobs(project, |jobs| jobs.len() >= 230).unwrap();
    assert_eq!((exact.jobs.len(), exact.more), (230, false));
}

#[test]
fn a_server_that_calls_itself_otherwise_is_asked_where_we_know_it() {
    let options =
        Options { external_url: Some("http://gitlab.invalid/git".to_owned()), ..Options::default() };
    let Bench { gitlab, client, project, .. } =
        bench_of(options, |gitlab| format!("http://{}", gitlab.address()));
    for _ in 0..150 {
        gitlab.enqueue("group/project", json!({"tags": ["a"], "script": "true"}));
    }
    assert_eq!(client.open_jobs(project, |_| false).unwrap().jobs.len(), 150);
}

#[test]
fn a_retry_after_of_a_server_in_maintenance_is_honoured() {
    let Bench { gitlab, client, waits, .. } = bench();
    let busy = json!({"status": {"status": 503, "headers": {"Retry-After": "7"}}});
    gitlab.add_fault(json!({"route": "GET /api/v4/projects/{id}", "answer": busy}));
    client.project("group/project").unwrap();
    assert!(waits.lock().unwrap()[0] >= Duration::from_secs(7));
}

#[test]
fn protected_refs_are_names_and_patterns() {
    let Bench { gitlab: _running, client, project, .. } = bench();
    let refs = client.protected_refs(project).unwrap();
    assert_eq!((refs.branches, refs.tags), (vec!["main".to_owned()], Vec::new()));
}

#[test]
fn a_reset_token_replaces_the_old_one() {
    let Bench { gitlab: _running, client, project, .. } = bench();
    let (id, first) = client.create_runner(&new_runner(project)).unwrap();
    let second = client.reset_runner_token(id).unwrap();
    assert_eq!(client.verify_runner_token(&first.token, "s_1").unwrap(), TokenState::Refused);
    let valid = TokenState::Valid { runner_id: id, expires_at: None };
    assert_eq!(client.verify_runner_token(&second.token, "s_1").unwrap(), valid);
    assert!(client.keep_runner_alive(&second.token, "r_keep_alive").unwrap());
    assert!(!client.keep_runner_alive(&first.token, "r_keep_alive").unwrap());
}

#[test]
fn reads_are_repeated_and_retry_after_is_honoured() {
    let Bench { gitlab, client, waits, .. } = bench();
    let route = "GET /api/v4/projects/{id}";
    gitlab.add_fault(json!({"route": route, "answer": {"throttle": {"retry_after": 7}}}));
    gitlab.add_fault(json!({"route": route, "answer": {"status": {"status": 502}}}));
    gitlab.add_fault(json!({"route": route, "answer": "drop"}));
    client.project("group/project").unwrap();
    let waits = waits.lock().unwrap();
    assert_eq!(waits.len(), 3);
    assert!(waits[0] >= Duration::from_secs(7), "{waits:?}");
}

#[test]
fn a_lost_creation_is_not_repeated() {
    let Bench { gitlab, client, project, waits } = bench();
    gitlab.add_fault(json!({"route": "POST /api/v4/user/runners", "answer": "drop_after"}));
    let error = client.create_runner(&new_runner(project)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted);
    assert!(waits.lock().unwrap().is_empty());
    assert_eq!(client.runners_of(Owner::Project(project)).unwrap().len(), 1);
}

#[test]
fn tries_are_bounded() {
    let Bench { gitlab, client, waits, .. } = bench();
    let route = "GET /api/v4/projects/{id}";
    gitlab.add_fault(json!({"route": route, "times": 100, "answer": {"status": {"status": 503}}}));
    let error = client.project("group/project").unwrap_err();
    assert_eq!((error.kind, waits.lock().unwrap().len()), (ErrorKind::Server, 3));
}

#[test]
fn scopes_of_the_token_are_told() {
    let Bench { gitlab: _running, client, .. } = bench();
    let token = client.own_token().unwrap();
    assert_eq!(token.scopes, ["read_api", "create_runner", "manage_runner"]);
}
