//! What runs in the bed: started in order, reaped by PID 1.

use super::accounts;
use crate::failure::{During, Failure, Result};
use crate::process;
use nix::errno::Errno;
use nix::sys::wait::wait;
use nix::unistd::{Gid, Uid, User, chown};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What programs of the bed find as PATH.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

struct Daemon {
    command: &'static [&'static str],
    user: &'static str,
}

/// munged first: the others ask it at their start.
const DAEMONS: &[Daemon] = &[
    Daemon { command: &["munged", "--foreground"], user: "munge" },
    Daemon { command: &["slurmctld", "-D"], user: "root" },
    Daemon { command: &["slurmd", "-D"], user: "root" },
    Daemon {
        command: &["docker-registry", "serve", "/etc/docker/registry/config.yml"],
        user: "docker-registry",
    },
];

const MUNGE_SOCKET: &str = "/run/munge/munge.socket.2";

/// Names of the programs that a working bed has.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    DAEMONS.iter().map(|daemon| daemon.command[0])
}

/// Starts all daemons and then only reaps: every orphan of the bed becomes a child of this process.
pub(super) fn run() -> Result<ExitCode> {
    process::run(bare("ip").args(["link", "set", "lo", "up"]))?;
    // Slurm asks getaddrinfo with AI_ADDRCONFIG, for which glibc does not count 127.0.0.1 as an address.
    process::run(bare("ip").args(["address", "add", "127.0.1.1/8", "dev", "lo"]))?;
    folder("/run/munge", "munge", 0o755)?;
    folder("/run/slurm", "slurm", 0o755)?;
    folder("/run/slurm/ctld", "slurm", 0o700)?;
    folder("/run/slurm/d", "root", 0o755)?;
    folder("/run/lock", "root", 0o1777)?;
    folder("/run/user", "root", 0o755)?;
    for account in accounts::ADDED {
        let (user, group) = (Uid::from_raw(account.id), Gid::from_raw(account.id));
        own_folder(&format!("/run/user/{}", account.id), user, group, 0o700)?;
    }
    for daemon in DAEMONS {
        start(daemon)?;
        if daemon.user == "munge" {
            wait_for(Path::new(MUNGE_SOCKET))?;
        }
    }
    loop {
        match wait() {
            Ok(_) | Err(Errno::EINTR) => {}
            // All daemons are dead, but the namespaces are still of use for `exec`.
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}

fn start(daemon: &Daemon) -> Result<()> {
    let user = account(daemon.user)?;
    bare(daemon.command[0])
        .args(&daemon.command[1..])
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .spawn()
        .map(drop)
        .during(|| format!("start `{}`", daemon.command[0]))
}

/// A program with nothing of the host's environment.
fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(std::process::Stdio::null());
    command
}

fn folder(path: &str, owner: &str, mode: u32) -> Result<()> {
    let owner = account(owner)?;
    own_folder(path, owner.uid, owner.gid, mode)
}

fn own_folder(path: &str, uid: Uid, gid: Gid, mode: u32) -> Result<()> {
    fs::create_dir_all(path).during(|| format!("make `{path}`"))?;
    chown(path, Some(uid), Some(gid)).during(|| format!("give `{path}` away"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).during(|| format!("set the mode of `{path}`"))
}

fn account(name: &str) -> Result<User> {
    User::from_name(name)
        .during(|| format!("look up the user `{name}`"))?
        .ok_or_else(|| Failure::new(format!("the bed has no user `{name}`")))
}

fn wait_for(path: &Path) -> Result<()> {
    let began = Instant::now();
    while !path.exists() {
        if began.elapsed() > Duration::from_secs(10) {
            return Err(Failure::new(format!("`{}` did not appear", path.display())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
