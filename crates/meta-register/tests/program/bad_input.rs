//! The rows of the bad-input table that concern GitLab: the whole stderr and the exit code.

use std::net::TcpListener;

use expect_test::{Expect, expect};
use gitlab_stand_in::Options;

use crate::sandbox::{Run, Sandbox};

const ONE: &str = "[runners.big]\ntags = [\"a\"]\n";

fn check(run: &Run, code: i32, stderr: &Expect) {
    stderr.assert_eq(&run.stderr);
    assert_eq!(run.code, Some(code));
}

fn configure(sandbox: &Sandbox, url: &str, project: &str, token: &str) {
    let head = format!("url = \"{url}\"\nproject = \"{project}\"\nmanagement_token = \"{token}\"");
    sandbox.configure_with(&head, ONE);
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
            error: the management token `token 6` lacks create_runner
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
