//! The demo, as `cargo xtask demo` runs it here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use end_to_end::bed::{REGISTRY, program};
use end_to_end::processes::with_mark;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("demo: every result is the expected one", results),
    ("demo: without a batch system", without_batch_system),
    ("demo: an interrupt leaves nothing behind", interrupt),
];

fn results() {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let output = start(directory.path(), &[]).wait_with_output().expect("the demo is our child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("job "))
        .take_while(|line| !line.is_empty())
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let fails = rows.iter().find(|row| row[0] == "fails").expect("the table has the job `fails`");
    let [_, instance, slurm, image, _, _, result, code] = fails[..] else { panic!("{fails:?}") };
    assert_eq!((instance, result, code), ("large", "failed, script_failure", "42"));
    assert!(slurm.parse::<u64>().is_ok() && image.contains("busybox"), "{fails:?}");
    assert!(text.contains("    report | 25 out/primes.txt"), "the log of a job is shown: {text}");
    assert!(text.contains("\ngitlab-runner: "), "it says which gitlab-runner it used: {text}");
    nothing_is_left(directory.path());
}

fn without_batch_system() {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let output = start(directory.path(), &["--no-batch-system"]).wait_with_output();
    let output = output.expect("the demo is our child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("| Slurm job none on instance small"), "{text}");
    nothing_is_left(directory.path());
}

fn interrupt() {
    let directory = TempDir::new_in("/scratch").expect("/scratch is writable in the bed");
    let mut demo = start(directory.path(), &[]);
    let mut lines = BufReader::new(demo.stdout.take().expect("it was asked for")).lines();
    assert!(lines.any(|line| line.expect("the demo prints text").contains(" | ")), "a job starts");
    let pid = Pid::from_raw(i32::try_from(demo.id()).expect("a process id is an int"));
    kill(pid, Signal::SIGINT).expect("the demo runs");
    lines.for_each(drop);
    assert_eq!(demo.wait().expect("the demo is our child").code(), Some(130));
    nothing_is_left(directory.path());
}

fn start(directory: &Path, further: &[&str]) -> Child {
    let mut demo = Command::new(program("demo"));
    demo.args(["--listen", "127.0.0.1:0", "--registry", REGISTRY, "--directory"])
        .arg(directory)
        .args(further);
    demo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the demo starts")
}

/// Neither files, nor processes or batch jobs that know the directory.
fn nothing_is_left(directory: &Path) {
    let mark = directory.to_string_lossy();
    assert_eq!(fs::read_dir(directory).expect("it is ours").count(), 0);
    assert_eq!(with_mark(&mark), Vec::<u32>::new());
    let queue = Command::new("squeue").args(["--me", "--noheader", "--format=%T %Z"]).output();
    let queue = queue.expect("squeue starts").stdout;
    assert!(!String::from_utf8_lossy(&queue).contains(&*mark));
}
