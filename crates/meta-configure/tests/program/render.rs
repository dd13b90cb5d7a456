//! The files of `meta-configure render`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use crate::home::{Home, good_but, registered};

#[test]
fn not_registered_yet() {
    let outcome = Home::with_config(&good_but("", "")).run(&[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""));
    expect![[r#"
        error: no runner is registered
        hint: run `gitlab-meta-runner configure`
    "#]]
    .assert_eq(&outcome.stderr);
}

#[test]
fn one_instance_without_registration_does_not_stop_the_others() {
    let (home, data) = registered(&good_but("[poll]", "[runners.new]\ntags = [\"new\"]\n[poll]"));
    let outcome = home.run(&["render"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(5), ""));
    expect![[r#"
        warning: instance `new` is not registered and is left out of gitlab-runner's configuration
    "#]]
    .assert_eq(&outcome.stderr);
    let generated = data.join("lab.gitlab-runner.toml");
    let text = fs::read_to_string(&generated).unwrap();
    expect![[r#"
        concurrent = 1

        [[runners]]
        builds_dir = "HOME/builds"
        executor = "custom"
        id = 7
        name = "big"
        token = "glrt-t3_x"
        url = "https://gitlab.example.com"
    "#]]
    .assert_eq(&text.replace(&home.path().display().to_string(), "HOME"));
    assert_eq!(generated.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let node = fs::read_to_string(data.join("lab.executor.toml")).unwrap();
    assert!(node.contains("[instances.big]") && !node.contains("token"), "{node}");
    home.run(&["render"]);
    assert_eq!(fs::read_to_string(&generated).unwrap(), text);
}

#[test]
fn a_registration_is_at_work() {
    let (home, data) = registered(&good_but("", ""));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let holder = format!("{{\"host\": \"login9\", \"pid\": 42, \"started\": 1, \"renewed\": {now}}}\n");
    fs::write(data.join("lab.lease"), holder).unwrap();
    let outcome = home.run(&[]);
    assert_eq!(outcome.code, Some(1));
    expect![[r#"
        error: another process works on this: pid 42 on `login9` holds `HOME/.local/share/gitlab-meta-runner/lab.lease`
        hint: wait for it to end; if `login9` is down, the lock is free 300 s after its last renewal
    "#]].assert_eq(&outcome.stderr);
    assert!(!data.join("lab.gitlab-runner.toml").exists());
}
