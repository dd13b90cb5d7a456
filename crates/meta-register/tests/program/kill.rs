//! SIGKILL at every boundary that matters, and what the next run makes of it.
//!
//! The program is traced: it is stopped before each system call by which it has an effect (a file is made durable, named,
//! renamed or removed, bytes are sent), and after each one that brings an answer, and there it is killed. Between "sent" and
//! "answered" GitLab may or may not have acted; being killed before the one and after the other are these two cases.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// Runs a command and kills it at its `nth` boundary. False if it ended before.
#[expect(clippy::zombie_processes, reason = "waitpid has waited for it where it exits")]
fn kill_at(command: &Command, nth: usize) -> bool {
    let mut child = behind_a_shell(command);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    ptrace::interrupt(pid).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let (mut is_ours, mut boundaries) = (false, 0);
    loop {
        let mut signal = None;
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceEvent(_, _, event) => is_ours |= event == Event::PTRACE_EVENT_EXEC as i32,
            WaitStatus::PtraceSyscall(_) if is_ours && is_boundary(pid) => {
                if boundaries == nth {
                    kill(pid, Signal::SIGKILL).unwrap();
                    child.wait().unwrap();
                    return true;
                }
                boundaries += 1;
            }
            WaitStatus::PtraceSyscall(_) => {}
            WaitStatus::Stopped(_, stop) => signal = Some(stop),
            WaitStatus::Exited(..) => return false,
            status => panic!("{status:?}"),
        }
        ptrace::syscall(pid, signal).unwrap();
    }
}

/// A shell that becomes the command when it reads a line: until then there is time to trace it.
fn behind_a_shell(command: &Command) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read -r go; exec \"$@\" </dev/null", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn is_boundary(pid: Pid) -> bool {
    let call = i64::from_ne_bytes(ptrace::getregs(pid).unwrap().orig_rax.to_ne_bytes());
    let names = [libc::SYS_rename, libc::SYS_link, libc::SYS_linkat, libc::SYS_unlink, libc::SYS_unlinkat];
    let named = names.contains(&call);
    match ptrace::syscall_info(pid).unwrap().op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            named || [libc::SYS_fsync, libc::SYS_sendto, libc::SYS_mkdir].contains(&call)
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => named || call == libc::SYS_recvfrom,
        _ => false,
    }
}

/// What must be the same however often the way there was interrupted.
#[derive(Debug, PartialEq)]
struct End {
    runners: BTreeMap<String, Vec<Value>>,
    files: Vec<String>,
    registrations: Vec<String>,
}

fn end(sandbox: &Sandbox) -> End {
    sandbox.assert_usable();
    let fields = ["projects", "tags", "locked", "paused", "maintenance_note"];
    let mut runners: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for runner in sandbox.runners() {
        let key = runner["description"].as_str().unwrap().to_owned();
        runners.entry(key).or_default().extend(fields.map(|field| runner[field].clone()));
    }
    let files = fs::read_dir(sandbox.path("data")).unwrap();
    let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let registered = sandbox.parsed_registrations();
    if files.iter().any(|file| file == "meta.gitlab-runner.toml") {
        let generated = sandbox.read("data/meta.gitlab-runner.toml");
        let big = &registered[&"big".parse().unwrap()];
        assert!(generated.contains(big.token.reveal()), "gitlab-runner would use an old token");
    }
    End { runners, files, registrations: registered.keys().map(ToString::to_string).collect() }
}

/// Kills a run at each of its boundaries in turn, each time in a new sandbox, and runs the program again.
fn check_every_boundary(prepare: impl Fn() -> Sandbox) {
    let undisturbed = prepare();
    assert_eq!(undisturbed.run(&[]).code, Some(0));
    let expected = end(&undisturbed);
    let mut nth = 0;
    loop {
        let sandbox = prepare();
        if !kill_at(&sandbox.command(&[]), nth) {
            break;
        }
        let run = sandbox.run(&[]);
        assert_eq!(run.code, Some(0), "boundary {nth}: {run:?}");
        assert_eq!(end(&sandbox), expected, "boundary {nth}");
        let run = sandbox.run(&["--dry-run"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "boundary {nth}: {run:?}");
        nth += 1;
    }
    assert!(nth > 30, "only {nth} boundaries were seen");
}

fn configure(sandbox: &Sandbox, instances: &str) {
    let head = format!(
        "url = \"{}\"\nprojects = [\"group/more\", \"group/project\"]\nmanagement_token = \"{}\"",
        sandbox.gitlab.url(),
        sandbox.gitlab.root_token()
    );
    sandbox.configure_with(&head, instances);
}

#[test]
fn while_runners_are_created() {
    check_every_boundary(|| {
        let sandbox = Sandbox::new();
        sandbox.gitlab.add_project("group/more");
        configure(&sandbox, "[runners.big]\ntags = [\"a\"]\n[runners.small]\ntags = [\"s\"]\n");
        sandbox
    });
}

#[test]
fn while_runners_are_changed_and_deleted_and_tokens_replaced() {
    check_every_boundary(|| {
        let sandbox = Sandbox::new();
        sandbox.gitlab.add_project("group/more");
        configure(&sandbox, "[runners.big]\ntags = [\"a\"]\n[runners.small]\ntags = [\"s\"]\n");
        assert_eq!(sandbox.run(&[]).code, Some(0));
        // The new token comes last, so that nothing behind it repairs what it may have left.
        sandbox.render(&["big"]);
        let id = sandbox.parsed_registrations()[&"big".parse().unwrap()].id;
        sandbox.admin().reset_runner_token(id).unwrap();
        configure(&sandbox, "[runners.big]\ntags = [\"b\"]\n[runners.another]\ntags = [\"n\"]\n");
        sandbox
    });
}

#[test]
fn while_the_reference_s_tokens_are_taken_over() {
    check_every_boundary(|| {
        let sandbox = Sandbox::new();
        sandbox.gitlab.add_project("group/more");
        let (id, token) = sandbox.gitlab.add_runner(json!({"path": "group/more", "tags": ["a"]}));
        let admin = sandbox.admin();
        let state = sandbox.gitlab.state();
        let project = state["projects"][0]["id"].as_u64().unwrap();
        admin.assign_runner(id.try_into().unwrap(), project).unwrap();
        sandbox.write("data/meta.tokens", &format!("[big]\nid = {id}\ntoken = \"{token}\"\n"));
        configure(&sandbox, "[runners.big]\ntags = [\"a\"]\n[runners.small]\ntags = [\"s\"]\n");
        sandbox
    });
}
