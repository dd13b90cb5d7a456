//! `run`: a launcher that stays.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::sandbox::Sandbox;

/// Wide: a safety limit, not a measurement.
const LIMIT: Duration = Duration::from_secs(30);

fn start(sandbox: &Sandbox) -> Child {
    let log = fs::File::create(sandbox.path("log")).unwrap();
    sandbox.command(&["run", "-v"]).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn log(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("log")).unwrap()
}

#[test]
fn it_ticks_reloads_and_ends_as_told() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"big\"]\n[poll]\ninterval = 1\n", "");
    let mut child = start(&sandbox);
    sandbox.job("big");
    wait_until("the job is launched for", || !sandbox.queued().is_empty());

    // A broken configuration leaves the old one in use.
    sandbox.write("config.toml", "name = ");
    signal(&child, Signal::SIGHUP);
    wait_until("the problem is told", || log(&sandbox).contains("the configuration stays as it was"));
    sandbox.job("big");
    wait_until("the next one, too", || sandbox.queued().len() == 2);
    sandbox.configure("[runners.big]\ntags = [\"big\"]\n[poll]\ninterval = 3600\n", "");
    signal(&child, Signal::SIGHUP);
    wait_until("it is read again", || log(&sandbox).contains("the configuration was read again"));

    // It waits for an hour now, and ends at once.
    signal(&child, Signal::SIGTERM);
    wait_until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!sandbox.path("data/meta.lease").exists());
}

#[test]
fn a_management_token_that_is_replaced_is_read_again() {
    let sandbox = Sandbox::new();
    let head = format!(
        "url = \"{}\"\nproject = \"group/project\"\nmanagement_token_file = \"~/token\"",
        sandbox.gitlab.url()
    );
    let instances = "[runners.big]\ntags = [\"big\"]\n[poll]\ninterval = 1\n";
    sandbox.configure_with(&head, instances, "executable = \"sbatch\"");
    sandbox.write("token", "glpat-revoked");
    sandbox.job("big");
    let mut child = start(&sandbox);
    wait_until("it is told", || log(&sandbox).contains("401 Unauthorized"));
    sandbox.write("token", &sandbox.token);
    wait_until("the job is launched for", || !sandbox.queued().is_empty());
    signal(&child, Signal::SIGTERM);
    wait_until("it ends", || child.try_wait().unwrap().is_some());
}

#[test]
fn an_end_during_a_submission_comes_after_it() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"big\"]\n", "max_array = 1");
    sandbox.fault("before", ": >\"$home/began\"; while [ ! -e \"$home/go\" ]; do sleep 0.05; done");
    sandbox.job("big");
    sandbox.job("big");
    let mut child = start(&sandbox);
    wait_until("the submission begins", || sandbox.path("began").exists());
    signal(&child, Signal::SIGTERM);
    sandbox.write("go", "");
    wait_until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!((sandbox.queued().len(), sandbox.states()), (1, vec!["queued".to_owned()]));
}

#[test]
fn trouble_that_lasts_is_told_once() {
    let sandbox = Sandbox::new();
    sandbox.configure("[runners.big]\ntags = [\"big\"]\n[poll]\ninterval = 1\n", "");
    sandbox.job("big");
    sandbox.fault("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1");
    let mut child = start(&sandbox);
    wait_until("it has looked thrice", || sandbox.calls("squeue").len() >= 3);
    assert_eq!(log(&sandbox).matches("does not answer").count(), 1);
    sandbox.remove("faults/squeue");
    wait_until("the job is launched for", || !sandbox.queued().is_empty());
    assert!(log(&sandbox).contains("it works again"), "{}", log(&sandbox));

    // GitLab is away: nothing is forgotten, and it goes on when it is back.
    sandbox.gitlab.add_fault(json!({"route": "* *", "times": 3, "answer": {"status": {"status": 500}}}));
    sandbox.job("big");
    wait_until("the next one, too", || sandbox.queued().len() == 2);
    assert_eq!(log(&sandbox).matches("answered 500").count(), 1, "{}", log(&sandbox));
    signal(&child, Signal::SIGINT);
    wait_until("it ends", || child.try_wait().unwrap().is_some());
}
