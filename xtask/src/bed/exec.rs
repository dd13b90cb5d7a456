//! `bed exec`: runs a command on the login node.

use super::{configure, daemons, enter, state, supervise};
use crate::failure::{During, Failure, Result};
use clap::Args;
use nix::unistd::{Gid, Uid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// As root; else as the ordinary user `ci`.
    #[arg(long)]
    root: bool,
    /// The working folder inside the bed; by default the user's home.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// An environment variable for the command; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The command and its arguments; by default a login shell.
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

/// What the processes of `bed exec` that are inside the bed have to know; they start with the final environment.
#[derive(Args, Debug)]
pub(crate) struct Inside {
    #[arg(long)]
    root: bool,
    #[arg(long)]
    cwd: PathBuf,
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

impl Inside {
    /// This program with one of its hidden tasks. The path means this very file, also where the bed has none of it.
    fn next(&self, task: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("xtask").args(["bed", task]).args(self.root.then_some("--root"));
        command.arg("--cwd").arg(&self.cwd).arg("--").args(&self.command);
        command
    }
}

/// The process on the host: enters the namespaces and starts [`supervise`] there.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let holder = state::require()?;
    let variables = environment(arguments, std::env::var("TERM").ok())?;
    let login_shell = || vec!["bash".to_owned(), "--login".to_owned()];
    let inside = Inside {
        root: arguments.root,
        cwd: arguments.cwd.clone().unwrap_or_else(|| home(arguments.root).into()),
        command: if arguments.command.is_empty() { login_shell() } else { arguments.command.clone() },
    };
    let signals = supervise::block_signals()?;
    enter::enter(holder)?;
    let mut next = inside.next("supervise");
    let child =
        next.env_clear().envs(variables).spawn().during(|| "start a process in the bed".to_owned())?;
    supervise::pass_on(&child, &signals, supervise::Target::Child)
}

/// The first process in the bed: the reaper of everything that the command leaves behind.
pub(crate) fn supervise(inside: &Inside) -> Result<ExitCode> {
    let signals = supervise::block_signals()?;
    supervise::adopt_orphans()?;
    let child = inside.next("become").spawn().during(|| "start the command's process".to_owned())?;
    supervise::pass_on(&child, &signals, supervise::Target::Tree)
}

/// The last one: takes signals again, becomes the user and then the command.
pub(crate) fn become_command(inside: &Inside) -> Result<ExitCode> {
    if !inside.root {
        become_user()?;
    }
    std::env::set_current_dir(&inside.cwd).during(|| format!("enter `{}`", inside.cwd.display()))?;
    supervise::unblock_signals()?;
    let error = Command::new(&inside.command[0]).args(&inside.command[1..]).exec();
    // As a shell says it.
    eprintln!("bed exec: `{}`: {error}", inside.command[0]);
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

fn become_user() -> Result<()> {
    let name = CString::new(configure::USER).during(|| "name the user".to_owned())?;
    let (user, group) = (Uid::from_raw(configure::USER_ID), Gid::from_raw(configure::USER_ID));
    initgroups(&name, group).during(|| "set the groups".to_owned())?;
    setgid(group).during(|| "set the group".to_owned())?;
    setuid(user).during(|| "become the user".to_owned())
}

fn home(root: bool) -> &'static str {
    if root { "/root" } else { "/home/ci" }
}

/// The whole environment of the command: nothing of the host's but the kind of terminal.
fn environment(arguments: &Arguments, terminal: Option<String>) -> Result<Vec<(String, String)>> {
    let user = if arguments.root { "root" } else { configure::USER };
    let id = if arguments.root { 0 } else { configure::USER_ID };
    let mut variables: Vec<(String, String)> = [
        ("PATH", format!("/opt/target/debug:{}", daemons::PATH)),
        ("HOME", home(arguments.root).to_owned()),
        ("USER", user.to_owned()),
        ("LOGNAME", user.to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if id != 0 {
        variables.push(("XDG_RUNTIME_DIR".to_owned(), format!("/run/user/{id}")));
    }
    variables.extend(terminal.map(|terminal| ("TERM".to_owned(), terminal)));
    for pair in &arguments.env {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(format!("`--env {pair}` has no `=`")).with_hint("write --env NAME=VALUE")
        })?;
        variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::{Arguments, environment};

    fn arguments(root: bool, env: &[&str]) -> Arguments {
        let env = env.iter().map(|&pair| pair.to_owned()).collect();
        Arguments { root, cwd: None, env, command: Vec::new() }
    }

    fn value(variables: &[(String, String)], name: &str) -> Option<String> {
        variables.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn the_user_has_an_own_environment() {
        let variables = environment(&arguments(false, &["A=b=c"]), None).unwrap();
        assert_eq!(value(&variables, "HOME").as_deref(), Some("/home/ci"));
        assert_eq!(value(&variables, "XDG_RUNTIME_DIR").as_deref(), Some("/run/user/1000"));
        assert_eq!(value(&variables, "A").as_deref(), Some("b=c"));
        assert_eq!(value(&variables, "TERM"), None);
    }

    #[test]
    fn root_has_no_runtime_folder() {
        let variables = environment(&arguments(true, &[]), Some("dumb".to_owned())).unwrap();
        assert_eq!(value(&variables, "XDG_RUNTIME_DIR"), None);
        assert_eq!(value(&variables, "TERM").as_deref(), Some("dumb"));
    }

    #[test]
    fn a_variable_without_value_is_refused() {
        assert!(environment(&arguments(false, &["A"]), None).is_err());
    }
}
