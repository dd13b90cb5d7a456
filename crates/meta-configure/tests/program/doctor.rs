//! `meta-configure doctor`, with programs in the place of the site's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::home::{Home, Outcome, good_but, registered};

/// The lines of `doctor` about one thing.
fn finding(outcome: &Outcome, subject: &str) -> String {
    let lines =
        outcome.stdout.lines().filter(|line| line.get(6..).is_some_and(|text| text.starts_with(subject)));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn doctor_asks_gitlab_on_the_login_node() {
    let home =
        Home::with_config(&good_but("hostname = \"gitlab.example.com\"", "url = \"http://127.0.0.1:1\""));
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let doctor = bin.join("meta-configure");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_meta-configure"), &doctor).unwrap();
    write_program(&bin.join("meta-register"), "echo \"$1 $#\" >&2; exit 4");
    let outcome = home.outcome(Command::new(&doctor).arg("doctor"));
    assert_eq!(outcome.code, Some(3));
    assert_eq!(
        finding(&outcome, "configuration"),
        "ok    configuration: HOME/.config/gitlab-meta-runner.toml\n"
    );
    assert!(outcome.stdout.contains("fail  GitLab:\n--dry-run 5\n"), "{}", outcome.stdout);
    write_program(&bin.join("meta-register"), "");
    let outcome = home.outcome(Command::new(&doctor).arg("doctor"));
    let reached = "ok    GitLab: the management token may look at projects and runners\n";
    assert_eq!(finding(&outcome, "GitLab"), reached);
}

#[test]
fn doctor_takes_a_machine_without_configuration_for_a_node() {
    let (home, data) = registered(&good_but("", ""));
    home.run(&["render"]);
    fs::remove_file(home.config()).unwrap();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    write_program(&bin.join("apptainer"), "echo apptainer version 1.2.5");
    write_program(
        &bin.join("gitlab-runner"),
        "test \"$1 $2\" = 'verify --config' && test -f \"$3\" && echo 'Verifying runner... is valid' >&2",
    );
    let doctor =
        || home.outcome(Command::new(env!("CARGO_BIN_EXE_meta-configure")).arg("doctor").env("PATH", &bin));
    let outcome = doctor();
    assert_eq!(outcome.code, Some(3));
    assert!(finding(&outcome, "no configuration").ends_with(": a compute node\n"), "{}", outcome.stdout);
    assert!(finding(&outcome, "git:").starts_with("fail"), "{}", outcome.stdout);
    assert!(finding(&outcome, "HOME/bin/apptainer").starts_with("fail"), "{}", outcome.stdout);
    assert!(finding(&outcome, "GitLab").starts_with("ok"), "{}", outcome.stdout);
    assert!(!finding(&outcome, "node_dir: /var/tmp/").is_empty(), "{}", outcome.stdout);
    fs::remove_file(data.join("lab.gitlab-runner.toml")).unwrap();
    assert!(finding(&doctor(), "GitLab").starts_with("fail"));
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
