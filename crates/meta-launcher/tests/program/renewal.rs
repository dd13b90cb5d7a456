//! Runner tokens that end soon: who renews them, and who hears of it when nobody can.
#![expect(clippy::disallowed_methods, reason = "the test installs the program beside another one")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::sandbox::{Run, Sandbox};

/// A launcher with one instance whose token lives for ten days and ends in twelve hours, beside a `meta-register` that is
/// this script.
fn sandbox(register: &str) -> Sandbox {
    let sandbox = beside(register);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let times = [("issued", now - 9 * 86400 - 43200), ("expires", now + 43200)]
        .map(|(what, at)| format!("token_{what}_at = \"{}\"\n", meta_core::time::format(at)))
        .concat();
    let registrations = fs::read_to_string(sandbox.path("data/meta.registrations.toml")).unwrap();
    sandbox.write("data/meta.registrations.toml", &format!("{registrations}{times}"));
    sandbox
}

/// A launcher with one instance beside that `meta-register`.
fn beside(register: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("bin/meta-register", &format!("#!/bin/sh\necho \"$@\" >> called\n{register}\n"));
    fs::set_permissions(sandbox.path("bin/meta-register"), Permissions::from_mode(0o755)).unwrap();
    symlink(env!("CARGO_BIN_EXE_meta-launcher"), sandbox.path("bin/meta-launcher")).unwrap();
    sandbox
}

fn once(sandbox: &Sandbox) -> Run {
    let given = sandbox.command(&["once"]);
    let mut command = Command::new(sandbox.path("bin/meta-launcher"));
    command.args(given.get_args()).current_dir(sandbox.path("")).env_clear();
    command.envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
    sandbox.finish(command)
}

fn calls(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path("called")).unwrap_or_default();
    text.lines().map(|line| line.replace(&sandbox.path("").display().to_string(), "HOME/")).collect()
}

#[test]
fn meta_register_is_called_in_time_and_not_at_every_tick() {
    let renewed =
        "sed -i 's/token_expires_at = .*/token_expires_at = \"2099-01-01\"/' data/meta.registrations.toml";
    let sandbox = sandbox(renewed);
    for _ in 0..3 {
        let run = once(&sandbox);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    }
    let flags = "--config-file HOME/config.toml --data-dir HOME/data \
                 --generated-config-file HOME/data/meta.gitlab-runner.toml --rotate";
    assert_eq!(calls(&sandbox), [flags]);
    assert!(!sandbox.path("data/meta.lease").exists());
}

#[test]
fn figures_that_cannot_be_written_do_not_stop_it() {
    let sandbox = sandbox("");
    sandbox
        .configure("[runners.big]\ntags = [\"big\"]\n[poll]\nmetrics_file = \"config.toml/figures\"\n", "");
    assert_eq!(once(&sandbox).code, Some(5));
    assert_eq!(calls(&sandbox).len(), 1);
}

#[test]
fn a_renewal_that_fails_is_told() {
    let sandbox =
        sandbox("test -e data/meta.lease && echo 'the lease is held'; echo 'error: no network' >&2; exit 4");
    let run = once(&sandbox);
    assert_eq!(run.code, Some(5), "{run:?}");
    let end = &run.stderr.find("(ends ").map(|at| run.stderr[at + 6..at + 26].to_owned()).unwrap();
    let stderr = run.stderr.replace(end, "END");
    let expected = "error: tokens could not be renewed: `big` (ends END)\n\
                    caused by: `HOME/bin/meta-register --config-file HOME/config.toml --data-dir HOME/data \
                    --generated-config-file HOME/data/meta.gitlab-runner.toml --rotate` ended with exit code 4\n  | error: no network\n\
                    hint: call `HOME/bin/meta-register --config-file HOME/config.toml --data-dir HOME/data \
                    --generated-config-file HOME/data/meta.gitlab-runner.toml --rotate` yourself\n";
    assert_eq!(stderr, expected);
    assert_eq!(once(&sandbox).stderr, "", "it is tried again in an hour");
    assert_eq!(calls(&sandbox).len(), 1);
    // An hour later.
    let mut ledger = sandbox.ledger();
    ledger["renewal_tried"] = json!(ledger["renewal_tried"].as_u64().unwrap() - 3600);
    sandbox.write("data/meta.launches.json", &ledger.to_string());
    assert_eq!(once(&sandbox).code, Some(5));
}

#[test]
fn a_refused_token_is_told_renewed_and_not_launched_with() {
    let sandbox = beside("test -e fail || sed -i \"s/glrt-old/$(cat good)/\" data/meta.registrations.toml");
    let path = sandbox.path("data/meta.registrations.toml");
    let text = fs::read_to_string(path).unwrap();
    let (head, good) = text.split_once("token = ").unwrap();
    sandbox.write("good", good.trim().trim_matches('"'));
    sandbox.write("data/meta.registrations.toml", &format!("{head}token = \"glrt-old\"\n"));
    sandbox.write("fail", "");
    sandbox.configure("[runners.big]\ntags = [\"big\"]\n", "max_array = 1");
    sandbox.job("big");
    let run = once(&sandbox);
    let expected = "error: GitLab refuses the token of instance `big`\n\
                    hint: `gitlab-meta-runner configure` gets a new one\n\
                    error: tokens could not be renewed: `big` (refused)\n\
                    hint: call `HOME/bin/meta-register --config-file HOME/config.toml --data-dir HOME/data --generated-config-file HOME/data/meta.gitlab-runner.toml --rotate` yourself\n";
    assert_eq!((run.code, run.stderr.as_str()), (Some(5), expected));
    assert_eq!((calls(&sandbox).len(), sandbox.queued().len()), (1, 0));
    sandbox.job("big");
    assert_eq!(once(&sandbox).code, Some(0));
    assert_eq!((calls(&sandbox).len(), sandbox.queued().len()), (1, 0));
    assert!(sandbox.run(&["plan"]).stdout.contains("big: GitLab refuses the token of its runner"));
    // An hour later it is renewed, and launches go on.
    sandbox.remove("fail");
    let mut ledger = sandbox.ledger();
    ledger["renewal_tried"] = json!(ledger["renewal_tried"].as_u64().unwrap() - 3600);
    sandbox.write("data/meta.launches.json", &ledger.to_string());
    assert_eq!(once(&sandbox).code, Some(0));
    let status = sandbox.run(&["status"]);
    assert!(!status.stdout.contains("trouble with"), "{status:?}");
    assert_eq!(once(&sandbox).code, Some(0));
    assert_eq!((calls(&sandbox).len(), sandbox.queued().len()), (2, 2));
}
