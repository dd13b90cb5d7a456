//! Two runs at once.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::sandbox::Sandbox;

#[test]
fn the_second_run_waits_briefly_and_leaves_with_a_message() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"a\"]\n");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let holder = format!("{{\"host\": \"login9\", \"pid\": 42, \"started\": 1, \"renewed\": {now}}}\n");
    sandbox.write("data/meta.lease", &holder);
    let run = sandbox.run(&[]);
    let expected = "error: another process works on this: pid 42 on `login9` holds `HOME/data/meta.lease`\n\
                    hint: wait for it to end; if `login9` is down, the lock is free 300 s after its last renewal\n";
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), expected));
    assert_eq!(sandbox.runners().len(), 0);

    let expired = holder.replace(&now.to_string(), &(now - 400).to_string());
    sandbox.write("data/meta.lease", &expired);
    assert_eq!(sandbox.run(&[]).stdout, "create big: tags [a]\n");
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"a\"]\n[runners.small]\ntags = [\"s\"]\n");
    sandbox.gitlab.add_fault(json!({"route": "POST /api/v4/user/runners", "times": 2, "delay_ms": 200}));
    let mut codes_and_lines = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| sandbox.run(&[])));
        runs.map(|run| run.join().unwrap()).map(|run| (run.stdout.lines().count(), run.code, run.stderr))
    });
    codes_and_lines.sort();
    let done = |lines| (lines, Some(0), String::new());
    assert_eq!(codes_and_lines, [done(0), done(2)]);
    assert_eq!(sandbox.runners().len(), 2);
    sandbox.assert_usable();
}
