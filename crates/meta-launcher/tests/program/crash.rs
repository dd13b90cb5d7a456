//! Nothing is launched twice and nothing is forgotten, wherever a tick is cut off.
#![expect(clippy::disallowed_methods, reason = "the tests kill the program and play another login node")]

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sandbox::{Run, Sandbox, silent};

/// Long enough for an answer that was lost to count as never made.
const LATER: u64 = 1000;

fn killed(run: &Run) {
    assert_eq!(run.code, None, "{run:?}");
}

#[test]
fn killed_before_the_submission_it_is_made_again_once_it_cannot_come_any_more() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    sandbox.fault("before", "kill -9 $PPID; exit 1");
    killed(&sandbox.once());
    sandbox.remove("faults/before");
    assert_eq!(sandbox.states(), ["submitting"]);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["unknown: the answer to the submission was lost"]);
    assert_eq!(sandbox.queued(), [""; 0]);
    sandbox.age(LATER);
    assert_eq!(sandbox.once(), silent());
    sandbox.age(LATER);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.states(), ["lost: it never came to the queue", "queued"]);
    assert_eq!(sandbox.queued().len(), 1);
}

#[test]
fn killed_after_the_submission_it_is_found_by_its_comment() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    sandbox.fault("after", "kill -9 $PPID; exit 1");
    killed(&sandbox.once());
    sandbox.remove("faults/after");
    assert_eq!(sandbox.once(), silent());
    let queued = sandbox.queued();
    assert_eq!((queued.len(), sandbox.states()), (1, vec!["queued: Priority".to_owned()]));
    assert_eq!(sandbox.launches()[0]["batch_id"], queued[0].as_str());
    sandbox.age(LATER);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued(), queued);
}

#[test]
fn a_submission_that_outlives_its_launcher_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    // The launcher dies, and the command goes on for a while, as when the controller is slow.
    sandbox.fault("before", "kill -9 $PPID; while [ ! -e \"$home/go\" ]; do sleep 0.05; done");
    killed(&sandbox.once());
    assert_eq!(sandbox.once(), silent());
    // The launch command may take 300 s.
    sandbox.age(299);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued(), [""; 0]);
    sandbox.write("go", "");
    for _ in 0..200 {
        if !sandbox.queued().is_empty() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert_eq!(sandbox.once(), silent());
    assert_eq!((sandbox.queued().len(), sandbox.states()), (1, vec!["queued: Priority".to_owned()]));
}

#[test]
fn killed_at_any_moment_it_launches_each_job_once() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"big\"]\n", "max_array = 1");
    let jobs = 6;
    for _ in 0..jobs {
        sandbox.job("big");
    }
    let mut kills = 0;
    for delay_ms in (0..60).map(|step| step * 2) {
        let mut command = sandbox.command(&["once"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        kills += u32::from(child.wait().unwrap().code().is_none());
    }
    assert!(kills > 0, "every run was faster than its end");
    // What was cut off comes to the queue, or proves not to have come.
    for _ in 0..4 {
        let run = sandbox.once();
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        sandbox.age(LATER);
    }
    assert_eq!(sandbox.queued().len(), jobs, "{:#?}", sandbox.states());
    let live = sandbox.states().iter().filter(|state| state.starts_with("queued")).count();
    assert_eq!(live, jobs, "{:#?}", sandbox.states());
}

#[test]
fn killed_during_the_write_the_old_ledger_stays() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    assert_eq!(sandbox.once(), silent());
    let before = fs::read_to_string(sandbox.path("data/meta.launches.json")).unwrap();
    // What a write that was cut off leaves.
    sandbox.write("data/.meta.launches.json.login1-1-1.tmp", &before[..before.len() / 2]);
    sandbox.job("big");
    // A file that may not grow beyond 512 bytes: the kernel ends the process at that byte.
    let mut shell = Command::new("sh");
    let command = sandbox.command(&["once"]);
    shell.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(sandbox.path(""));
    killed(&sandbox.finish(shell));
    assert_eq!(fs::read_to_string(sandbox.path("data/meta.launches.json")).unwrap(), before);
    assert_eq!(sandbox.queued().len(), 1, "nothing is submitted that is not written down");
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued().len(), 2);
}

/// Runs a shell script that may mount things, with the launcher and its arguments as `"$@"`. `None` where users have no
/// namespaces.
fn in_namespace(sandbox: &Sandbox, script: &str) -> Option<Run> {
    let shell = |script: &str| {
        let mut shell = Command::new("unshare");
        shell.args(["--map-root-user", "--mount", "sh", "-ec", script, "sh"]);
        shell
    };
    if !shell("mount -t tmpfs tmpfs /mnt").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: needs `unshare --map-root-user --mount`");
        return None;
    }
    let command = sandbox.command(&["once"]);
    let mut shell = shell(script);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(sandbox.path(""));
    Some(sandbox.finish(shell))
}

#[test]
fn a_full_disk_stops_the_launches_and_loses_none() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    // One page is left, which the lease takes.
    let script = "cp -a data kept; mount -t tmpfs -o size=64k,mode=700 tmpfs data; cp -a kept/. data/
        dd if=/dev/zero of=data/fill bs=4096 2>/dev/null || :; truncate -s -4096 data/fill
        \"$@\" 2>full.stderr || echo $? >full.code; ls queue >full.queue
        rm data/fill; \"$@\"";
    let Some(run) = in_namespace(&sandbox, script) else { return };
    assert_eq!(run, silent());
    let told = sandbox.read("full.stderr");
    assert!(told.contains("No space left on device") && told.contains("hint: make room in `"), "{told}");
    assert_eq!((sandbox.read("full.code").as_str(), sandbox.read("full.queue").as_str()), ("3\n", ""));
    assert_eq!(sandbox.queued().len(), 1);
}

#[test]
fn a_data_directory_that_is_read_only() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    let script = "mount --bind data data; mount -o remount,ro,bind data; exec \"$@\"";
    let Some(run) = in_namespace(&sandbox, script) else { return };
    let expected = "error: cannot use the lock `HOME/data/meta.lease`\n\
                    caused by: Read-only file system (os error 30)\n\
                    hint: `HOME/data` is on a read-only file system: mount it for writing, or name another place\n";
    assert_eq!((run.code, run.stderr.as_str(), sandbox.queued().len()), (Some(3), expected, 0));
}

#[test]
fn another_login_node_at_work_is_left_alone_and_a_dead_one_is_replaced() {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let holder = format!("{{\"host\": \"login9\", \"pid\": 42, \"started\": 1, \"renewed\": {now}}}\n");
    sandbox.write("data/meta.lease", &holder);
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued(), [""; 0]);
    sandbox.write("data/meta.lease", &holder.replace(&now.to_string(), &(now - 400).to_string()));
    assert_eq!(sandbox.once(), silent());
    assert_eq!(sandbox.queued().len(), 1);
}

#[test]
fn two_at_once_launch_each_job_once() {
    let sandbox = Sandbox::new();
    for _ in 0..5 {
        sandbox.job("big");
    }
    let start = || sandbox.command(&["once"]).stdout(Stdio::null()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let elements: u64 = sandbox.launches().iter().map(|launch| launch["elements"].as_u64().unwrap()).sum();
    assert_eq!((sandbox.calls("sbatch").len(), elements), (1, 5));
}
