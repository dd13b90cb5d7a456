//! Two runs at once.

use std::time::{SystemTime, UNIX_EPOCH};

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
