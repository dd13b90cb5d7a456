//! The samples in tests/configs are the cases.

use std::fs;
use std::path::PathBuf;

use expect_test::expect_file;

use super::*;
use crate::config::launch::Scheduler;

fn samples(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/configs").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no samples");
    files
}

fn parse_sample(path: &Path) -> Result<Config, Problems> {
    parse(Path::new(path.file_name().unwrap()), &fs::read_to_string(path).unwrap())
}

#[test]
fn valid_samples_are_read() {
    for path in samples("valid") {
        if let Err(problems) = parse_sample(&path) {
            panic!("{problems}");
        }
    }
}

#[test]
fn invalid_samples_are_refused_with_all_their_problems() {
    for path in samples("invalid") {
        let problems = parse_sample(&path).map(|_| path.clone()).unwrap_err();
        assert!(
            problems.list().iter().all(|problem| problem.hint.is_some()),
            "no hint in {}",
            path.display()
        );
        expect_file![path.with_extension("txt")].assert_eq(&format!("{problems}\n"));
    }
}

#[test]
fn the_seed_means_what_it_says() {
    let config =
        parse(Path::new("seed.toml"), include_str!("../../../../tests/configs/valid/seed.toml")).unwrap();
    assert_eq!(config.name.as_str(), "meta-runner");
    assert_eq!(config.url, "https://gitlab.com");
    assert_eq!(config.scope, Scope::Projects(vec!["gitlab-org/gitlab".to_owned()]));
    assert_eq!(config.management_token.unwrap().reveal(), "enter-your-token-here");
    assert_eq!(config.poll, Poll::default());
    let (name, instance) = config.instances.first_key_value().unwrap();
    assert_eq!(
        (name.as_str(), &instance.tags[..]),
        ("test-runner", &["tag-1".to_owned(), "tag-2".to_owned()][..])
    );
    assert_eq!(instance.launch_priority, 10);
    assert_eq!(instance.config_variables["VARIABLE"], "value");
    let launch = config.launch.unwrap();
    assert_eq!((launch.timeout_s, launch.group_size, launch.max_in_flight), (300, 1, 100));
    assert_eq!(launch.stdin.unwrap().text().lines().next(), Some("#!/bin/bash"));
    assert_eq!(config.executor.unwrap().pull_policy.unwrap()[0].text(), "if-not-present");
    assert!(config.runner.get("environment").is_some());
}

#[test]
fn the_other_keys_mean_what_they_say() {
    let config =
        parse(Path::new("group.toml"), include_str!("../../../../tests/configs/valid/group.toml")).unwrap();
    assert_eq!(config.url, "https://gitlab.example.com:8443/gitlab");
    assert_eq!(config.scope, Scope::Group("physics/simulation".to_owned()));
    let big = &config.instances[&"big_node".parse().unwrap()];
    assert_eq!(big.tags, ["big", "gpu"]);
    assert_eq!((big.maximum_timeout_s, big.max_launches, big.protected), (Some(7200), Some(2), true));
    let launch = config.launch.unwrap();
    assert_eq!((launch.scheduler, launch.max_in_flight), (Some(Scheduler::of_program("sbatch")), 20));
    assert!(launch.args[0].uses("LAUNCH_ID"));
}

#[test]
fn a_locked_runner_has_one_project() {
    let read = |scope: &str, locked: &str| {
        let text = format!(
            "name = \"m\"\nhostname = \"h\"\n{scope}\n[runners.a]\ntags = [\"a\"]\n{locked}\n[runner]\nexecutor = \"custom\"\n"
        );
        parse(Path::new("x.toml"), &text).map(|config| config.instances.into_values().next().unwrap().locked)
    };
    let message = |scope| read(scope, "locked = true").unwrap_err().list()[0].message.clone();
    assert_eq!(read("project = \"g/p\"", "").unwrap(), None);
    assert_eq!(read("project = \"g/p\"", "locked = true").unwrap(), Some(true));
    assert_eq!(read("projects = [\"g/p\", \"g/q\"]", "locked = false").unwrap(), Some(false));
    assert_eq!(
        message("projects = [\"g/p\", \"g/q\"]"),
        "`runners.a.locked` is true, but a locked runner serves one project only"
    );
    assert_eq!(message("group = \"g\""), "`runners.a.locked` is true, but a group's runner cannot be locked");
}

#[test]
fn a_file_from_another_system_means_the_same() {
    let plain = include_str!("../../../../tests/configs/valid/seed.toml");
    let read = |text: &str| parse(Path::new("seed.toml"), text).unwrap();
    let foreign = format!("\u{feff}{}", plain.replace('\n', "\r\n"));
    assert_eq!(read(&foreign).launch, read(plain).launch);
    assert!(!read(&foreign).launch.unwrap().stdin.unwrap().text().contains('\r'));
    let problem = parse(Path::new("x.toml"), "\u{feff}nmae = 1\r\n").unwrap_err().to_string();
    assert!(problem.contains("x.toml:1:1\n  |\n1 | nmae = 1\n  | ^^^^\n"), "{problem}");
}
