//! The rows of the bad-input table that concern GitLab: the whole stderr and the exit code.

use std::net::TcpListener;
use std::process::Command;

use expect_test::{Expect, expect};
use gitlab_stand_in::Options;
use serde_json::json;

use crate::sandbox::{Run, Sandbox};

const ONE: &str = "[runners.big]\ntags = [\"a\"]\n";

#[track_caller]
fn check(run: &Run, code: i32, stderr: &Expect) {
    stderr.assert_eq(&without_ids(&run.stderr));
    assert_eq!(run.code, Some(code));
}

/// Which ids there are is the stand-in's business.
fn without_ids(text: &str) -> String {
    ["runner ", "runners/", "`token "].iter().fold(text.to_owned(), |text, before| {
        let mut parts = text.split(before);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |done, part| {
            let rest = part.trim_start_matches(|sign: char| sign.is_ascii_digit());
            let id = if rest.len() < part.len() { "ID" } else { "" };
            done + before + id + rest
        })
    })
}

fn configure(sandbox: &Sandbox, url: &str, project: &str, token: &str) {
    sandbox.configure_with(&sandbox::head(url, project, token), ONE);
}

#[test]
fn wrong_token() {
    let sandbox = Sandbox::new();
    configure(&sandbox, sandbox.gitlab.url(), "group/project", "glpat-wrong");
    check(
        &sandbox.run(&[]),
        4,
        &expect![[r#"
            error: cannot read the runners from GitLab
            caused by: `GET URL/api/v4/personal_access_tokens/self` answered 401 Unauthorized
            hint: the management token is wrong, expired or revoked: make a new one with the scopes read_api, create_runner and manage_runner
        "#]],
    );
}

#[test]
fn missing_scope() {
    let sandbox = Sandbox::with(Options::default(), &["read_api"]);
    sandbox.configure(ONE);
    check(
        &sandbox.run(&[]),
        4,
        &expect![[r#"
            error: the management token `token ID` lacks create_runner
            hint: make a new one with the scopes read_api, create_runner and manage_runner; nothing was changed
        "#]],
    );
}

#[test]
fn unknown_project() {
    let sandbox = Sandbox::new();
    configure(&sandbox, sandbox.gitlab.url(), "group/no-project", &sandbox.token);
    check(
        &sandbox.run(&[]),
        4,
        &expect![[r#"
        error: cannot read the runners from GitLab
        caused by: `GET URL/api/v4/projects/group%2Fno-project` answered 404 Project Not Found
        hint: check `project` in the configuration, and that the token's owner is a member of that project
    "#]],
    );
}

#[test]
fn unreachable_host() {
    let sandbox = Sandbox::new();
    // A port that nobody else has just now, and nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    configure(&sandbox, &format!("http://127.0.0.1:{port}"), "group/project", &sandbox.token);
    let run = sandbox.run(&[]);
    let run = Run { stderr: run.stderr.replace(&port.to_string(), "PORT"), ..run };
    check(
        &run,
        4,
        &expect![[r#"
            error: cannot read the runners from GitLab
            caused by: `GET http://127.0.0.1:PORT/api/v4/personal_access_tokens/self` failed
            caused by: Connection refused (os error 111)
            hint: check `hostname` or `url`, and whether this machine reaches GitLab only through a proxy (set https_proxy)
        "#]],
    );
}

#[test]
fn self_signed_certificate() {
    let sandbox = Sandbox::with(Options { tls: true, ..Options::default() }, &crate::sandbox::ALL_SCOPES);
    sandbox.configure(ONE);
    check(
        &sandbox.run(&[]),
        4,
        &expect![[r#"
            error: cannot read the runners from GitLab
            caused by: `GET URL/api/v4/personal_access_tokens/self` failed
            caused by: invalid peer certificate: UnknownIssuer
            hint: set `ca_file` to a PEM file with the certificate of the authority that signed GitLab's, or with GitLab's own if it is self-signed
        "#]],
    );

    sandbox.write("ca.pem", sandbox.gitlab.certificate().unwrap());
    let head = format!(
        "url = \"{}\"\nproject = \"group/project\"\nca_file = \"~/ca.pem\"\nmanagement_token = \"{}\"",
        sandbox.gitlab.url(),
        sandbox.token
    );
    sandbox.configure_with(&head, ONE);
    let run = sandbox.run(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "create big: tags [a]\n"), "{}", run.stderr);
}

#[test]
fn no_token_at_all() {
    let sandbox = Sandbox::new();
    sandbox.configure_with("url = \"http://127.0.0.1:1\"\nproject = \"group/project\"", ONE);
    check(
        &sandbox.run(&[]),
        3,
        &expect![[r#"
        error: there is no management token
        hint: set `management_token` or `management_token_file` in the configuration, or META_RUNNER_MANAGEMENT_TOKEN in the environment
    "#]],
    );
}

/// One wrong answer of a route, for as long as it is asked.
fn wrong_answer(route: &str, answer: &serde_json::Value) -> Run {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.gitlab.add_fault(json!({"route": route, "times": 100, "answer": answer}));
    sandbox.run(&[])
}

const CREATE: &str = "POST /api/v4/user/runners";
const PROJECT: &str = "GET /api/v4/projects/{id}";

#[test]
fn role_too_low() {
    let body = json!({"message": "403 Forbidden - Insufficient permissions"});
    check(
        &wrong_answer(CREATE, &json!({"status": {"status": 403, "body": body}})),
        4,
        &expect![[r#"
        error: cannot create big: tags [a]
        caused by: `POST URL/api/v4/user/runners` answered 403 Forbidden - Insufficient permissions
        hint: the token's owner needs the role Maintainer in the project, or Owner in the group
    "#]],
    );
}

#[test]
fn scope_that_only_the_call_tells() {
    let sandbox = Sandbox::with(Options::default(), &["read_api"]);
    sandbox.configure(ONE);
    // A GitLab that says nothing of tokens.
    let unknown = json!({"status": {"status": 404, "body": {"message": "404 Not Found"}}});
    sandbox.gitlab.add_fault(json!({"route": "GET /api/v4/personal_access_tokens/self", "answer": unknown}));
    check(
        &sandbox.run(&[]),
        4,
        &expect![[r#"
        error: cannot create big: tags [a]
        caused by: `POST URL/api/v4/user/runners` answered 403: insufficient_scope: The request requires higher privileges than provided by the access token.
        hint: the management token lacks the scope create_runner for this call: make a new one with the scopes read_api, create_runner and manage_runner
    "#]],
    );
}

#[test]
fn what_gitlab_does_not_accept() {
    let body = json!({"message": "Maximum number of ci registered project runners (50) exceeded"});
    check(
        &wrong_answer(CREATE, &json!({"status": {"status": 400, "body": body}})),
        4,
        &expect![[r#"
        error: cannot create big: tags [a]
        caused by: `POST URL/api/v4/user/runners` answered 400: Maximum number of ci registered project runners (50) exceeded
    "#]],
    );
}

#[test]
fn page_of_a_proxy() {
    let answer = json!({"status": {"status": 404, "body": "<html>Proxy: no such page</html>"}});
    check(
        &wrong_answer(PROJECT, &answer),
        4,
        &expect![[r#"
        error: cannot read the runners from GitLab
        caused by: `GET URL/api/v4/projects/group%2Fproject` answered 404: <html>Proxy: no such page</html>
        hint: this is no answer of GitLab's API: check `url`, and proxies on the way
    "#]],
    );
}

#[test]
fn project_that_has_moved() {
    let headers = json!({"location": "https://gitlab.example.com/api/v4/projects/7"});
    let answer = json!({"status": {"status": 301, "headers": headers}});
    check(
        &wrong_answer(PROJECT, &answer),
        4,
        &expect![[r#"
        error: cannot read the runners from GitLab
        caused by: `GET URL/api/v4/projects/group%2Fproject` answered 301
        hint: the server sends us to `https://gitlab.example.com/api/v4/projects/7`: write its address in `url`, or the project's new path
    "#]],
    );
}

#[test]
fn too_many_requests() {
    check(
        &wrong_answer(PROJECT, &json!({"throttle": {"retry_after": 120}})),
        4,
        &expect![[r#"
        error: cannot read the runners from GitLab
        caused by: `GET URL/api/v4/projects/group%2Fproject` answered 429: Retry later
        hint: too many requests: try again later, or ask for fewer
    "#]],
    );
}

#[test]
fn gitlab_with_a_problem() {
    let answer = json!({"status": {"status": 500, "body": {"message": "500 Internal Server Error"}}});
    check(
        &wrong_answer(PROJECT, &answer),
        4,
        &expect![[r#"
        error: cannot read the runners from GitLab
        caused by: `GET URL/api/v4/projects/group%2Fproject` answered 500 Internal Server Error
        hint: GitLab has a problem or is being updated: try again later
    "#]],
    );
}

#[test]
fn token_with_a_stray_character() {
    let sandbox = Sandbox::new();
    let head = format!(
        "url = \"{}\"\nproject = \"group/project\"\nmanagement_token_file = \"~/token\"",
        sandbox.gitlab.url()
    );
    sandbox.configure_with(&head, ONE);
    sandbox.write("token", "glpat-one two\n");
    check(
        &sandbox.run(&[]),
        3,
        &expect![[r#"
        error: the management token in `HOME/token` is not a token: it has characters that no token has
        hint: write the token alone, as GitLab showed it: `glpat-...`
    "#]],
    );
}

#[test]
fn open_data_directory() {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.set_mode("data", 0o755);
    check(
        &sandbox.run(&[]),
        3,
        &expect![[r#"
        error: cannot use `HOME/data`
        caused by: group or others may access it (mode 755)
        hint: run `chmod 700 HOME/data`
    "#]],
    );
}

#[test]
fn open_tokens_of_the_reference() {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.write("data/meta.tokens", "[big]\nid = 7\ntoken = \"glrt-x\"\n");
    sandbox.set_mode("data/meta.tokens", 0o644);
    check(
        &sandbox.run(&[]),
        3,
        &expect![[r#"
        error: cannot use the registrations
        caused by: cannot use `HOME/data/meta.tokens`
        caused by: group or others may access it (mode 644)
        hint: run `chmod 600 HOME/data/meta.tokens`
    "#]],
    );
}

#[test]
fn damaged_registrations() {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.write("data/meta.registrations.toml", "version = 1\n[registrations.big]\nid = 7\n");
    check(
        &sandbox.run(&[]),
        3,
        &expect![[r#"
        error: cannot understand `HOME/data/meta.registrations.toml`
        caused by: line 2: `token` of `big` is missing or has the wrong type
        hint: repair it, or move it away: `HOME/data/meta.registrations.toml` is then written anew, with new tokens for the runners that are ours
    "#]],
    );
}

#[test]
fn runner_that_cannot_be_seen() {
    let sandbox = Sandbox::new();
    sandbox.configure(ONE);
    sandbox.run(&[]);
    let body = json!({"message": "403 Forbidden - No access granted"});
    let answer = json!({"status": {"status": 403, "body": body}});
    sandbox.gitlab.add_fault(json!({"route": "GET /api/v4/runners/{id}", "answer": answer}));
    check(
        &sandbox.run(&[]),
        4,
        &expect![[r#"
        error: cannot look at runner ID of `big`
        caused by: `GET URL/api/v4/runners/ID` answered 403 Forbidden - No access granted
        hint: the token's owner needs the role Maintainer in the project, or Owner in the group
        hint: if the runner belongs to a project that the configuration has left, delete it in GitLab
    "#]],
    );
}

#[test]
fn runner_that_unseen_projects_use() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!("{ONE}[runners.old]\ntags = [\"o\"]\n"));
    sandbox.run(&[]);
    sandbox.configure(ONE);
    let body = json!({"message": "403 Forbidden - Runner associated with more than one project"});
    let answer = json!({"status": {"status": 403, "body": body}});
    sandbox.gitlab.add_fault(json!({"route": "DELETE /api/v4/runners/{id}", "answer": answer}));
    check(
        &sandbox.run(&[]),
        5,
        &expect![[r#"
        error: cannot delete old: runner ID
        caused by: `DELETE URL/api/v4/runners/ID` answered 403 Forbidden - Runner associated with more than one project
        hint: projects that the token's owner does not see use this runner, too: unassign it there first
    "#]],
    );
}

#[test]
fn full_disk() {
    let sandbox = Sandbox::new();
    let instances: String = (0..12).map(|n| format!("[runners.i{n:02}]\ntags = [\"t\"]\n")).collect();
    sandbox.configure(&instances);
    let given = sandbox.command(&[]);
    let mut command = Command::new("sh");
    // A limit of one block stands for a disk that is full when some tokens are written.
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]).arg(given.get_program());
    command.args(given.get_args()).current_dir(sandbox.path("")).env_clear().env("HOME", sandbox.path(""));
    let run = sandbox.finish(&mut command);
    let (saved, there) = (sandbox.parsed_registrations().len(), sandbox.runners().len());
    assert!(saved == there && (1..12).contains(&saved), "{saved} saved, {there} there");
    sandbox.assert_usable();
    check(
        &run,
        5,
        &expect![[r#"
        error: cannot save the token of runner ID, which was just created for `i07`; the runner was deleted again
        caused by: cannot write `HOME/data/meta.registrations.toml`
        caused by: File too large (os error 27)
        hint: make room and run the command again
        error: 4 of 12 actions were not tried: run the command again
    "#]],
    );
}
