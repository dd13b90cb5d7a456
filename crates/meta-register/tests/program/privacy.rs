//! Who can see tokens: nobody but the owner of the files.

use std::fs;
use std::panic::catch_unwind;

use meta_core::registrations::Registrations;
use serde_json::json;

use crate::sandbox::Sandbox;

const TWO: &str = "[runners.big]\ntags = [\"b\", \"a\"]\n[runners.small]\ntags = [\"s\"]\n";

/// No token of ours or of a runner, old or new.
#[track_caller]
fn assert_silent(sandbox: &Sandbox, text: &str) {
    assert!(!text.contains(&sandbox.token) && !text.contains("glrt-"), "{text}");
}

#[test]
fn no_token_is_printed_at_any_level() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    let everything = |args: &[&str]| {
        let run = sandbox.run(&[args, &["-vvv"]].concat());
        assert!(run.stderr.contains("GET URL/api/v4/"), "nothing was logged: {run:?}");
        assert_silent(&sandbox, &run.stdout);
        assert_silent(&sandbox, &run.stderr);
        run.stdout
    };
    everything(&["--dry-run"]);
    everything(&[]);
    sandbox.render(&["big", "small"]);
    // A reset, a deletion, an update, and a runner that has to be adopted.
    let id = sandbox.parsed_registrations()[&"big".parse().unwrap()].id;
    sandbox.admin().reset_runner_token(id).unwrap();
    sandbox.configure("[runners.big]\ntags = [\"c\"]\n");
    let plan = everything(&["--json"]);
    assert!(["reset_token", "update", "delete"].iter().all(|action| plan.contains(action)), "{plan}");
    fs::remove_file(sandbox.path("data/meta.registrations.toml")).unwrap();
    assert!(everything(&[]).starts_with("adopt"));
    // Answers and files that are not what they should be, with tokens in them.
    let half = json!({"status": {"status": 200, "body": "{\"id\": 5, \"token\": \"glrt-half"}});
    sandbox.gitlab.add_fault(json!({"route": "GET /api/v4/runners/{id}", "times": 9, "answer": half}));
    everything(&[]);
    sandbox.write("data/meta.registrations.toml", "version = 1\n[registrations.big]\ntoken = \"glrt-half\n");
    assert_silent(&sandbox, &sandbox.run(&["-vvv"]).stderr);
}

/// A panic prints values with `Debug`.
#[test]
fn a_panic_shows_no_token() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    sandbox.run(&[]);
    let registrations = sandbox.parsed_registrations();
    let config =
        meta_core::config::parse(&sandbox.path("config.toml"), &sandbox.read("config.toml")).unwrap();
    let values: [&(dyn std::fmt::Debug + std::panic::RefUnwindSafe); 2] =
        [&Err::<(), &Registrations>(&registrations), &config.management_token];
    for value in values {
        let panic = catch_unwind(|| panic!("{value:?}")).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("<redacted>"), "{text}");
        assert_silent(&sandbox, text);
    }
    assert_silent(&sandbox, &format!("{:?}", sandbox.admin()));
}

#[test]
fn no_token_is_in_a_command_line() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    sandbox.gitlab.add_fault(json!({"route": "POST /api/v4/user/runners", "delay_ms": 300}));
    let mut child = sandbox.command(&[]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut looks = 0;
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            // Processes come and go.
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            assert_silent(&sandbox, &String::from_utf8_lossy(&line));
        }
        looks += 1;
    }
    assert!(looks > 0);
    assert_eq!(sandbox.runners().len(), 2);
}

#[test]
fn files_that_others_can_read_are_refused_with_the_chmod_to_run() {
    let sandbox = Sandbox::new();
    sandbox.configure(TWO);
    sandbox.run(&[]);
    sandbox.render(&["big"]);
    let before = sandbox.gitlab.requests().len();
    for (name, open, private) in [
        ("data", 0o755, 0o700),
        ("data/meta.registrations.toml", 0o640, 0o600),
        ("data/meta.gitlab-runner.toml", 0o644, 0o600),
        ("config.toml", 0o604, 0o600),
    ] {
        sandbox.set_mode(name, open);
        let run = sandbox.run(&[]);
        let hint = format!("hint: run `chmod {private:o} HOME/{name}`\n");
        assert!(run.code == Some(3) && run.stderr.ends_with(&hint), "{run:?}");
        sandbox.set_mode(name, private);
    }
    sandbox.set_mode("data", 0o750);
    assert_eq!(sandbox.run(&["--dry-run"]).code, Some(3));
    sandbox.set_mode("data", 0o700);
    assert_eq!(sandbox.writes(before), [""; 0]);
    assert_eq!(sandbox.run(&[]).code, Some(0));
}
