//! The way to GitLab: sub-path, proxies from the environment, a private authority.

use gitlab_stand_in::Options;
use serde_json::json;

use crate::relay::Relay;
use crate::sandbox::{ALL_SCOPES, Sandbox};

const ONE: &str = "[runners.big]\ntags = [\"a\"]\n";

#[test]
fn a_url_with_port_and_sub_path() {
    let relay = Relay::new();
    let url = format!("http://{}/gitlab", relay.address());
    let sandbox = Sandbox::with(Options { external_url: Some(url), ..Options::default() }, &ALL_SCOPES);
    relay.pass_on(sandbox.gitlab.address(), |line| line.replace(" /gitlab/", " /"), |_, answer| answer);
    // Three pages, whose links lead below the sub-path.
    for _ in 0..250 {
        sandbox.gitlab.add_runner(json!({"path": "group/project", "tags": ["a"]}));
    }
    sandbox.configure(ONE);
    assert_eq!(sandbox.run(&[]).stdout, "create big: tags [a]\n");
    assert_eq!(sandbox.run(&[]).stdout, "");
    let seen = relay.seen();
    assert!(seen.iter().all(|line| line.contains(" /gitlab/api/v4/")), "{seen:?}");
    assert_eq!(seen.iter().filter(|line| line.contains("per_page=100")).count(), 6, "{seen:?}");
}

#[test]
fn a_proxy_from_the_environment_and_a_private_authority() {
    let sandbox = Sandbox::with(Options { tls: true, ..Options::default() }, &ALL_SCOPES);
    sandbox.write("ca.pem", sandbox.gitlab.certificate().unwrap());
    let head = format!(
        "url = \"{}\"\nproject = \"group/project\"\nca_file = \"~/ca.pem\"\nmanagement_token = \"{}\"",
        sandbox.gitlab.url(),
        sandbox.token
    );
    sandbox.configure_with(&head, ONE);
    let proxy = Relay::new();
    proxy.tunnel();
    let address = format!("http://{}", proxy.address());
    let run = sandbox.finish(sandbox.command(&[]).env("HTTPS_PROXY", &address));
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "create big: tags [a]\n"), "{run:?}");
    let seen = proxy.seen();
    let wanted = format!("CONNECT {} HTTP/1.1", sandbox.gitlab.address());
    assert!(!seen.is_empty() && seen.iter().all(|line| *line == wanted), "{seen:?}");

    let run = sandbox.finish(sandbox.command(&[]).env("HTTPS_PROXY", &address).env("no_proxy", "127.0.0.1"));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(proxy.seen().len(), seen.len(), "no_proxy was not heeded");
}
