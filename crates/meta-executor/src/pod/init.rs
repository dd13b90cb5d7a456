//! The pod's init (PID 1): mounts, starts the command, reaps what is left behind, ends the pod.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, sethostname, setpgid};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, set_child_subreaper, setrlimit};

use super::descendants::{self, Process};
use super::descriptors::{close_others, give_output_to};
use super::driver::GRACE;
use super::first_word::FirstWord;
use super::kept_container::KeptContainer;
use super::report::{Event, report};
use super::spec::{EntryText, PodCommand, PodSpec, RootSpec};
use super::{PodError, doing, image_root, mounts, outer, tools_root};
use crate::failure::chain;

/// The descriptor on which the container's first process says that it runs. A shell can name only one digit.
pub(crate) const STARTED_FD: i32 = 9;

/// The descriptor from which it reads its environment.
pub(crate) const ENTRY_FD: i32 = 8;

/// Body of `meta-executor pod-init CONTROL REPORT`.
pub(crate) fn main(control: OwnedFd, reports: OwnedFd) -> ExitCode {
    let event = match run(control, &reports) {
        Ok(code) => Event::Exited(code),
        Err(error) => Event::Failed(chain(&error)),
    };
    if !in_namespace() {
        descendants::kill_all();
    }
    report(&reports, &event);
    // The end of PID 1 is the end of every process in the pod.
    ExitCode::SUCCESS
}

fn run(control: OwnedFd, reports: &OwnedFd) -> Result<i32, PodError> {
    if in_namespace() {
        // Until it watches the control pipe, something in the image could hold it up.
        outer::end_with_parent()?;
    } else {
        // The outer process has done it otherwise.
        close_others(&[&control, reports])?;
    }
    // Else it is called `exe`, like the link that it was started by. A name is a convenience.
    let _ = rustix::thread::set_name(c"meta-executor");
    // gitlab-runner signals its process group. The pod hears of it from the driver, and once.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(doing("leave the process group"))?;
    close_others(&[&control, reports])?;
    // The driver blocked them for its signalfd; the command must get them.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(doing("unblock signals"))?;
    let mut control = BufReader::new(File::from(control));
    let spec = read_spec(&mut control)?;
    for private in [control.get_ref().as_fd(), reports.as_fd()] {
        fcntl(private, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .map_err(doing("keep a pipe from the command"))?;
    }
    // Opened before the root changes: it lies in gitlab-runner's own directory.
    let stdin = match &spec.command.stdin {
        Some(path) => Stdio::from(File::open(path).map_err(|source| PodError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?),
        None => Stdio::null(),
    };
    if in_namespace() {
        sethostname(&spec.hostname).map_err(doing("set the host name"))?;
        mounts::make_private()?;
    } else {
        set_child_subreaper(Some(rustix::process::getpid())).map_err(|source| PodError::Namespace {
            action: "keep processes together",
            source: source.into(),
        })?;
    }
    // Not our caller's: what is made for the root is for all users of the container.
    umask(Mode::from_bits_truncate(0o022));
    match &spec.root {
        RootSpec::HostTools(root) => tools_root::enter(root)?,
        RootSpec::Image(root) => image_root::mount(root)?,
        RootSpec::Host => {}
    }
    // As docker's containers: no core files, unless the script asks for them.
    let none = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    setrlimit(Resource::Core, none)
        .map_err(|source| PodError::Namespace { action: "forbid core files", source: source.into() })?;
    umask(Mode::from_bits_truncate(spec.umask));
    let entered = match (&spec.root, &spec.command.inside) {
        (RootSpec::Image(root), Some(process)) => Some((root, process, KeptContainer::start(&spec.command)?)),
        _ => None,
    };
    let (first_word, passed) = match &spec.command.entry {
        Some(entry) => {
            let (first_word, write) = FirstWord::pipe()?;
            (Some(first_word), Some((entry_file(entry)?, duplicate_at(&write, STARTED_FD)?)))
        }
        None => (None, None),
    };
    give_output_to(spec.command.output_owner);
    let child = match &entered {
        Some((root, process, container)) => container.enter(root, process, stdin)?,
        None => spawn(&spec.command, stdin)?,
    };
    drop(passed);
    // Apptainer hands signals on to what it runs, if that is the job's.
    let hands_on = first_word.is_some() && entered.is_none();
    supervise(child, hands_on, first_word, control, reports)
}

fn read_spec(control: &mut BufReader<File>) -> Result<PodSpec, PodError> {
    let mut line = String::new();
    control
        .read_line(&mut line)
        .map_err(|source| PodError::Namespace { action: "read the pod's spec", source })?;
    serde_json::from_str(&line)
        .map_err(|source| PodError::Namespace { action: "understand the pod's spec", source: source.into() })
}

/// A file without a name that holds `text`. The command opens it anew through /proc, so that it is read from its start.
fn entry_file(text: &EntryText) -> Result<OwnedFd, PodError> {
    let failed = |source| PodError::Namespace { action: "pass the environment to the command", source };
    let file = memfd_create("entry", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut file = File::from(file);
    file.write_all(text.as_bytes()).map_err(failed)?;
    duplicate_at(&file.into(), ENTRY_FD)
}

/// A copy of `fd` that the command inherits under the number `wanted`.
pub(super) fn duplicate_at(fd: &OwnedFd, wanted: i32) -> Result<OwnedFd, PodError> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, wanted)
        .map_err(|source| PodError::Namespace { action: "copy the report pipe", source: source.into() })?;
    if copy.as_raw_fd() != wanted {
        return Err(PodError::Inside { message: format!("descriptor {wanted} is taken") });
    }
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).map_err(doing("pass the report pipe on"))?;
    Ok(copy)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command starts with an open file as stdin, which CommandLine cannot say"
)]
pub(super) fn spawn(command: &PodCommand, stdin: Stdio) -> Result<Child, PodError> {
    Command::new(&command.program)
        .args(&command.args)
        .env_clear()
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.cwd)
        .stdin(stdin)
        .spawn()
        .map_err(|source| PodError::Start { program: command.program.display().to_string(), source })
}

/// Waits for the command. A byte on the control pipe asks for SIGTERM to everybody; its end, or the end of the grace
/// time, ends the pod at once. A command that `hands_on` signals passes them to the container's first process.
fn supervise(
    mut child: Child,
    hands_on: bool,
    mut first_word: Option<FirstWord>,
    mut control: BufReader<File>,
    reports: &OwnedFd,
) -> Result<i32, PodError> {
    let pid = rustix::process::Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|source| PodError::Namespace { action: "watch the command", source: source.into() })?;
    let mut deadline: Option<Instant> = None;
    loop {
        let status = child.try_wait().map_err(|source| PodError::Namespace { action: "wait", source })?;
        // After that look: what it said is heard, however short it lived.
        if let Some(event) = first_word.as_mut().and_then(FirstWord::take) {
            report(reports, &event);
        }
        if let Some(status) = status {
            return Ok(code_of(status));
        }
        reap_orphans(pid.as_raw_pid());
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(128 + Signal::SIGKILL as i32);
        }
        let word = first_word.as_ref().and_then(FirstWord::file);
        let mut files: Vec<PollFd<'_>> = [ended.as_fd(), control.get_ref().as_fd()]
            .into_iter()
            .chain(word)
            .map(|file| PollFd::new(file, PollFlags::POLLIN))
            .collect();
        match poll(&mut files, PollTimeout::from(500_u16)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(doing("wait for the command")(error)),
        }
        if files[1].any().unwrap_or(false) {
            let mut byte = [0_u8];
            match control.read(&mut byte) {
                Ok(1) => {
                    terminate(pid.as_raw_pid(), hands_on);
                    // The driver ends the pod after its own grace time; this is for a driver that is stuck.
                    deadline = Some(Instant::now() + GRACE + Duration::from_secs(1));
                }
                _ => return Ok(128 + Signal::SIGKILL as i32),
            }
        }
    }
}

/// Whether this process is the init of a PID namespace: its end is the end of every process in it.
fn in_namespace() -> bool {
    getpid().as_raw() == 1
}

/// Sends SIGTERM to every process of the pod, once: a script's trap must not run twice. So a command that passes it on gets
/// none, and neither do its children where they are Apptainer's own init.
fn terminate(command: i32, hands_on: bool) {
    if in_namespace() && !hands_on {
        let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
        return;
    }
    let passes_it_on = |process: &Process| {
        hands_on && (process.pid == command || (!in_namespace() && process.parent == command))
    };
    for process in descendants::list().iter().filter(|process| !passes_it_on(process)) {
        // One that has ended by now needs no signal.
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGTERM);
    }
}

/// Collects processes that lost their parent and ended. The command itself is left to its own wait.
fn reap_orphans(command: i32) {
    use nix::sys::wait::{Id, waitid};
    loop {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::All, peek) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(status) => match status.pid() {
                Some(pid) if pid.as_raw() != command => {
                    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                }
                _ => return,
            },
        }
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
