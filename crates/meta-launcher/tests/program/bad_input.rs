//! The rows of the bad-input table that concern the launcher: the whole stderr and the exit code.

use std::net::TcpListener;

use expect_test::{Expect, expect};
use gitlab_stand_in::Options;

use crate::sandbox::{PROJECT, Run, Sandbox, silent};

const BIG: &str = "[runners.big]\ntags = [\"big\"]\n";

fn check(run: &Run, code: i32, stderr: &Expect) {
    stderr.assert_eq(&run.stderr);
    assert_eq!(run.code, Some(code));
}

/// What a tick says, and its exit code.
fn tick_says(sandbox: &Sandbox, code: i32, stderr: &Expect) {
    check(&sandbox.once(), code, stderr);
}

/// With one waiting job.
fn waiting() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.job("big");
    sandbox
}

fn configure(sandbox: &Sandbox, url: &str, project: &str, token: &str) {
    sandbox.configure_with(&sandbox::head(url, project, token), BIG, "executable = \"sbatch\"");
}

#[test]
fn missing_sbatch() {
    let sandbox = waiting();
    sandbox.remove("bin/sbatch");
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: the launch for instance `big` failed: cannot start `sbatch --parsable --comment=gitlab-meta-runner/meta/$LAUNCH_ID`
            caused by: `sbatch` is not in PATH, which is `HOME/bin:/usr/bin:/bin`
            hint: cron and systemd have a short PATH: put the line `PATH=<directory of sbatch>:HOME/bin:/usr/bin:/bin` above the others in the crontab; in your shell `command -v sbatch` prints where it is
        "#]],
    );
    assert_eq!(sandbox.launches()[0]["state"], "failed");
    // It is tried again, but not at once.
    assert_eq!(sandbox.once(), silent());
    sandbox.age(30);
    assert_eq!(sandbox.once().code, Some(5));
}

#[test]
fn missing_squeue() {
    let sandbox = waiting();
    sandbox.remove("bin/squeue");
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: the batch system does not answer, so nothing is launched: cannot start `squeue --me --noheader --states=all '--format=%F|%K|%T|%r|%M|%j|%k'`
            caused by: `squeue` is not in PATH, which is `HOME/bin:/usr/bin:/bin`
            hint: cron and systemd have a short PATH: put the line `PATH=<directory of squeue>:HOME/bin:/usr/bin:/bin` above the others in the crontab; in your shell `command -v squeue` prints where it is
        "#]],
    );
    assert_eq!(sandbox.queued(), [""; 0]);
}

#[test]
fn a_controller_that_is_away() {
    let sandbox = waiting();
    sandbox.fault(
        "squeue",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
    );
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: the batch system does not answer, so nothing is launched: `squeue --me --noheader --states=all '--format=%F|%K|%T|%r|%M|%j|%k'` ended with exit code 1
              | slurm_load_jobs error: Unable to contact slurm controller (connect failure)
        "#]],
    );
}

#[test]
fn sbatch_that_refuses_for_good() {
    let sandbox = waiting();
    sandbox.fault("before", "echo 'sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified' >&2; exit 1");
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: the launch for instance `big` failed: `sbatch --parsable --comment=gitlab-meta-runner/meta/$LAUNCH_ID` ended with exit code 1
              | sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified
            hint: nothing more is tried for `big` before its `[launch]` changes
        "#]],
    );
    sandbox.age(100_000);
    assert_eq!((sandbox.once(), sandbox.calls("sbatch").len()), (silent(), 1));
    let status = sandbox.run(&["status"]);
    expect![[r#"
        instance  pending  queued  starting  running  failed  last error
        big             1       0         0        0       1  sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified

        big: the submission was refused for good, nothing is tried before the configuration changes: sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified
        trouble with launches for `big` for 1 d: the launch for instance `big` failed: `sbatch --parsable --comment=gitlab-meta-runner/meta/$LAUNCH_ID` ended with exit code 1; | sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified; hint: nothing more is tried for `big` before its `[launch]` changes

        launch          instance  batch id  state   elements  age  reason
        ID  big       -         failed         1  1 d  sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified
    "#]].assert_eq(&status.stdout);
    // Another configuration is tried at once.
    sandbox.remove("faults/before");
    sandbox.configure(BIG, "args = [\"--account=good\"]");
    let end = Run { stderr: "warning: launches for `big`: it works again\n".to_owned(), ..silent() };
    assert_eq!((sandbox.once(), sandbox.queued().len()), (end, 1));
}

#[test]
fn sbatch_that_refuses_for_now() {
    let sandbox = waiting();
    sandbox.fault("before", "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user'\"'\"'s size and/or time limits)' >&2; exit 1");
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: the launch for instance `big` failed: `sbatch --parsable --comment=gitlab-meta-runner/meta/$LAUNCH_ID` ended with exit code 1
              | sbatch: error: QOSMaxSubmitJobPerUserLimit
              | sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
            hint: it is tried again later
        "#]],
    );
    assert_eq!((sandbox.once(), sandbox.calls("sbatch").len()), (silent(), 1));
    sandbox.remove("faults/before");
    sandbox.age(30);
    let end = Run { stderr: "warning: launches for `big`: it works again\n".to_owned(), ..silent() };
    assert_eq!((sandbox.once(), sandbox.queued().len()), (end, 1));
}

#[test]
fn sbatch_that_does_not_end() {
    let sandbox = waiting();
    sandbox.configure(BIG, "timeout = 1");
    // A child of its own that would outlive it.
    sandbox.fault("before", "sh -c 'sleep 3; : >\"$0/survived\"' \"$home\" & sleep 60");
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: the launch for instance `big` failed: `sbatch --parsable --comment=gitlab-meta-runner/meta/$LAUNCH_ID` did not end within 1 s and was killed
            hint: it is looked for in the queue before it is repeated
        "#]],
    );
    assert_eq!(sandbox.launches()[0]["state"], "unknown");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(!sandbox.path("survived").exists(), "the whole process group is ended");
    // Nothing is repeated before it is sure not to be in the queue.
    sandbox.remove("faults/before");
    assert_eq!((sandbox.once(), sandbox.queued().len()), (silent(), 0));
}

#[test]
fn sbatch_that_says_much_and_reads_nothing() {
    let sandbox = waiting();
    let script = "y".repeat(300_000);
    sandbox.configure_with(
        &sandbox.head(),
        BIG,
        &format!("executable = \"sbatch\"\ntimeout = 20\nstdin = \"{script}\""),
    );
    sandbox.fault("unread", "");
    sandbox.fault(
        "before",
        "head -c 200000 /dev/zero | tr '\\0' 'x'; echo; head -c 200000 /dev/zero | tr '\\0' 'x' >&2",
    );
    tick_says(&sandbox, 0, &expect![[r#""#]]);
    assert_eq!(sandbox.states(), ["queued"]);
}

#[test]
fn an_answer_without_an_id() {
    let sandbox = waiting();
    sandbox.fault("before", "echo Submitted batch job 7; exit 0");
    tick_says(&sandbox, 0, &expect![[r#""#]]);
    assert_eq!(sandbox.states(), ["unknown: the answer has no batch id: Submitted batch job 7"]);
}

#[test]
fn no_launch_section() {
    let sandbox = waiting();
    let text = format!(
        "name = \"meta\"\nurl = \"{}\"\nproject = \"{PROJECT}\"\nmanagement_token = \"x\"\n{BIG}[runner]\nexecutor = \"custom\"\n",
        sandbox.gitlab.url()
    );
    sandbox.write("config.toml", &text);
    tick_says(
        &sandbox,
        3,
        &expect![[r#"
        error: the configuration has no `[launch]`
        hint: write `[launch]` with `executable` and `stdin`: `gitlab-meta-runner show-example-config`
    "#]],
    );
}

#[test]
fn a_damaged_ledger() {
    let sandbox = waiting();
    sandbox.write("data/meta.launches.json", "{\"version\": 1, \"launches\": [");
    tick_says(
        &sandbox,
        3,
        &expect![[r#"
            error: cannot understand `HOME/data/meta.launches.json`
            caused by: it is not a list of launches
            caused by: EOF while parsing a list at line 1 column 28
            hint: look into the batch queue for launches, then remove the file
        "#]],
    );
    assert_eq!(sandbox.calls("sbatch"), [""; 0]);
}

#[test]
fn a_ledger_of_a_newer_version() {
    let sandbox = waiting();
    sandbox.write("data/meta.launches.json", "{\"version\": 2, \"launches\": []}");
    check(
        &sandbox.once(),
        3,
        &expect![[r#"
            error: cannot understand `HOME/data/meta.launches.json`
            caused by: it has version 2, and this launcher reads version 1
            hint: a newer launcher wrote it and knows of launches in the queue: use that one
        "#]],
    );
}

#[test]
fn damaged_registrations() {
    let sandbox = waiting();
    sandbox.write("data/meta.registrations.toml", "version = 1\n[registrations.big]\nid = 5\n");
    let run = sandbox.once();
    assert_eq!(run.code, Some(3), "{run:?}");
    let hint = "hint: repair the file, or move it away and run `gitlab-meta-runner configure`: our runners get new tokens\n";
    assert!(run.stderr.ends_with(hint), "{run:?}");
}

#[test]
fn registrations_of_a_newer_version() {
    let sandbox = waiting();
    sandbox.write("data/meta.registrations.toml", "version = 2\n[registrations.big]\nid = 5\n");
    let run = sandbox.once();
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains("line 1: the version is 2, and this program knows 1"), "{run:?}");
    let hint =
        "hint: a newer gitlab-meta-runner wrote it: use that one, here too, and leave the file as it is\n";
    assert!(run.stderr.ends_with(hint), "{run:?}");
}

#[test]
fn an_answer_that_is_no_queue() {
    let sandbox = waiting();
    sandbox.fault("squeue", "echo 'The cluster is down for maintenance.'; exit 0");
    check(
        &sandbox.once(),
        5,
        &expect![[r#"
        error: the answer of the batch system is not understood, so nothing is launched: `squeue --me --noheader --states=all '--format=%F|%K|%T|%r|%M|%j|%k'`: no job in it is one by the pattern `entry`; it begins with: The cluster is down for maintenance.
        hint: call it by hand, and mend `entry` or `heading` in `[schedulers]` if that is what it always says
    "#]],
    );
    assert_eq!(sandbox.queued(), [""; 0]);
}

#[test]
fn an_answer_that_is_too_long() {
    let sandbox = waiting();
    sandbox.fault("squeue", "yes '7|N/A|RUNNING|None|0:10|job.sh|x' | head -c 9000000; exit 0");
    check(
        &sandbox.once(),
        5,
        &expect![[r#"
        error: the batch system says too much, so nothing is launched: `squeue --me --noheader --states=all '--format=%F|%K|%T|%r|%M|%j|%k'` printed more than 8 MiB
        hint: let `query` in `[schedulers]` ask for this account's jobs only
    "#]],
    );
    assert_eq!(sandbox.queued(), [""; 0]);
}

#[test]
fn a_scheduler_that_nobody_described() {
    let sandbox = waiting();
    sandbox.configure(BIG, "scheduler = \"lsf\"");
    tick_says(
        &sandbox,
        3,
        &expect![[r#"
        error: `launch.scheduler` has no value `lsf`
           --> HOME/config.toml:11:13
           |
        11 | scheduler = "lsf"
           |             ^^^^^
        hint: write `"none"` or one of `"slurm"`, or describe another one in `[schedulers.lsf]`
    "#]],
    );
}

#[test]
fn a_pattern_that_is_none() {
    let sandbox = waiting();
    sandbox.configure(
        BIG,
        "scheduler = \"lsf\"\n[schedulers.lsf]\nquery = [\"bjobs\"]\ncancel = [\"bkill\"]\nsubmitted = 'Job <(?<id>\\d+'\nentry = '^(\\d+)'\nwaiting = '^PEND'\nrunning = '^RUN'",
    );
    tick_says(
        &sandbox,
        3,
        &expect![[r#"
            error: `schedulers.lsf.submitted` is not a regular expression: found open group without closing ')'
               --> HOME/config.toml:15:13
               |
            15 | submitted = 'Job <(?<id>\d+'
               |             ^^^^^^^^^^^^^^^^
            hint: write it in single quotes, where TOML leaves backslashes alone
        "#]],
    );
}

#[test]
fn an_unknown_variable() {
    let sandbox = waiting();
    sandbox.configure(BIG, "args = [\"--partition=$PARTITION\"]");
    tick_says(
        &sandbox,
        3,
        &expect![[r#"
        error: `launch.args` of instance `big`: `$PARTITION` is not set
           --> HOME/config.toml:11:22
           |
        11 | args = ["--partition=$PARTITION"]
           |                      ^^^^^^^^^^
        hint: write `$$PARTITION` to leave it to the shell of the batch job, `${PARTITION:default}` to have a default, or set it in the environment or in `config_variables`
    "#]],
    );
}

#[test]
fn an_instance_that_is_not_registered() {
    let sandbox = waiting();
    sandbox.remove("data/meta.registrations.toml");
    tick_says(
        &sandbox,
        5,
        &expect![[r#"
            error: instance `big` has waiting jobs and is not registered
            hint: run `gitlab-meta-runner configure`
        "#]],
    );
}

#[test]
fn wrong_token() {
    let sandbox = waiting();
    configure(&sandbox, sandbox.gitlab.url(), PROJECT, "glpat-wrong");
    tick_says(
        &sandbox,
        4,
        &expect![[r#"
        error: `GET URL/api/v4/projects/group%2Fproject` answered 401 Unauthorized
        hint: the management token is wrong, expired or revoked: make a new one with the scopes read_api, create_runner and manage_runner
    "#]],
    );
}

#[test]
fn unknown_project() {
    let sandbox = waiting();
    configure(&sandbox, sandbox.gitlab.url(), "group/nope", &sandbox.token);
    tick_says(
        &sandbox,
        4,
        &expect![[r#"
        error: `GET URL/api/v4/projects/group%2Fnope` answered 404 Project Not Found
        hint: check `project` in the configuration, and that the token's owner is a member of that project
    "#]],
    );
}

#[test]
fn missing_scope() {
    let sandbox = Sandbox::with(Options::default());
    let token = sandbox.gitlab.project_token(PROJECT, &["create_runner"]);
    configure(&sandbox, sandbox.gitlab.url(), PROJECT, &token);
    tick_says(
        &sandbox,
        4,
        &expect![[r#"
        error: `GET URL/api/v4/projects/group%2Fproject` answered 403: insufficient_scope: The request requires higher privileges than provided by the access token.
        hint: the management token lacks the scope read_api for this call: make a new one with the scopes read_api, create_runner and manage_runner
    "#]],
    );
}

#[test]
fn unreachable_host() {
    let sandbox = Sandbox::with(Options::default());
    // A port that nobody else has just now, and nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    configure(&sandbox, &format!("http://127.0.0.1:{port}"), PROJECT, &sandbox.token);
    let run = sandbox.once();
    let run = Run { stderr: run.stderr.replace(&port.to_string(), "PORT"), ..run };
    check(
        &run,
        4,
        &expect![[r#"
        error: `GET http://127.0.0.1:PORT/api/v4/projects/group%2Fproject` failed
        caused by: Connection refused (os error 111)
        hint: check `hostname` or `url`, and whether this machine reaches GitLab only through a proxy (set https_proxy)
    "#]],
    );
}

#[test]
fn self_signed_certificate() {
    let sandbox = Sandbox::with(Options { tls: true, ..Options::default() });
    configure(&sandbox, sandbox.gitlab.url(), PROJECT, &sandbox.token);
    tick_says(
        &sandbox,
        4,
        &expect![[r#"
        error: `GET URL/api/v4/projects/group%2Fproject` failed
        caused by: invalid peer certificate: UnknownIssuer
        hint: set `ca_file` to a PEM file with the certificate of the authority that signed GitLab's, or with GitLab's own if it is self-signed
    "#]],
    );
}
