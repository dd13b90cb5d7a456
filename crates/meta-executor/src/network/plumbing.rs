//! Makes the job's network, from inside the pod: runs `pasta` and `ip`.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::{JOB, OwnNetwork, PREFIX, pasta};
use crate::pod::{PodError, doing};

/// The bridge between the job and its services.
const BRIDGE: &str = "services";

/// Gives this process a network of its own with a way out. It is PID 1 of the pod and has one thread.
///
/// # Errors
/// pasta's own words, if it can't be had.
pub(crate) fn make(network: &OwnNetwork) -> Result<(), PodError> {
    // pasta needs both networks: it starts in the host's and waits there until this process has left it.
    let mut pasta = start_when_told(&network.pasta, &pasta::arguments(&network.loopback_ports))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(doing("make a network namespace"))?;
    if let Some(mut go) = pasta.stdin.take() {
        go.write_all(b"go\n")
            .map_err(|source| PodError::Namespace { action: "tell pasta to start", source })?;
    }
    // It goes into the background when it is ready.
    let output = pasta.wait_with_output().map_err(|source| start_error("pasta", source))?;
    if !output.status.success() {
        return Err(refused("pasta", &output));
    }
    ip(&network.ip, "link set lo up\n")?;
    open_low_ports()
}

/// Makes the bridge and lets services send through it. Not every kernel allows it.
pub(crate) fn make_bridge(network: &OwnNetwork) -> Result<(), PodError> {
    ip(
        &network.ip,
        &format!(
            "link add {BRIDGE} type bridge\naddr add {JOB}/{PREFIX} dev {BRIDGE}\nlink set {BRIDGE} up\n"
        ),
    )?;
    write_sysctl("/proc/sys/net/ipv4/ip_forward", "1")
}

/// Connects the network of process `pid` with the bridge; it sees `eth0`.
pub(crate) fn connect(ip_program: &Path, index: usize, pid: u32) -> Result<(), PodError> {
    // Interface names have at most 15 characters.
    let name = format!("service{index}");
    ip(
        ip_program,
        &format!(
            "link add {name} type veth peer name eth0 netns {pid}\nlink set {name} master {BRIDGE} up\n"
        ),
    )
}

/// The service's side of [`connect`]: its address, and the way out through the job's network.
pub(crate) fn configure_service(ip_program: &Path, address: Ipv4Addr) -> Result<(), PodError> {
    ip(
        ip_program,
        &format!(
            "link set lo up\naddr add {address}/{PREFIX} dev eth0\nlink set eth0 up\nroute add default via {JOB}\n"
        ),
    )?;
    open_low_ports()
}

/// docker's containers may open low ports as any user. It is a setting of the network that this process is in.
fn open_low_ports() -> Result<(), PodError> {
    write_sysctl("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
}

#[expect(clippy::disallowed_methods, reason = "a child with a pipe that holds it back until it may run")]
fn start_when_told(program: &Path, arguments: &[String]) -> Result<std::process::Child, PodError> {
    Command::new("/bin/sh")
        .args(["-c", "read -r go && exec \"$@\"", "sh"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| start_error("pasta", source))
}

/// Runs `commands`, one a line, in one call of `ip`.
#[expect(clippy::disallowed_methods, reason = "one short program that reads its commands from stdin")]
fn ip(program: &Path, commands: &str) -> Result<(), PodError> {
    let mut child = Command::new(program)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| start_error("ip", source))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(commands.as_bytes())
            .map_err(|source| PodError::Namespace { action: "pass commands to `ip`", source })?;
    }
    let output = child.wait_with_output().map_err(|source| start_error("ip", source))?;
    if output.status.success() { Ok(()) } else { Err(refused("ip", &output)) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of /proc takes one write; it cannot be replaced by rename"
)]
fn write_sysctl(path: &str, value: &str) -> Result<(), PodError> {
    fs::write(path, value).map_err(|source| PodError::Io { action: "write", path: path.into(), source })
}

fn start_error(program: &str, source: std::io::Error) -> PodError {
    PodError::Start { program: program.to_owned(), source }
}

fn refused(program: &str, output: &Output) -> PodError {
    let text = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    PodError::Inside { message: format!("`{program}` failed: {}", words.join("; ")) }
}
