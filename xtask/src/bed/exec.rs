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

/// What the half of `bed exec` that is inside the bed has to know; it starts with the final environment.
#[derive(Args, Debug)]
pub(crate) struct Inside {
    #[arg(long)]
    root: bool,
    #[arg(long)]
    cwd: PathBuf,
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

/// The host's half: enters the namespaces and starts the other half there.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let holder = state::require()?;
    let variables = environment(arguments, std::env::var("TERM").ok())?;
    let signals = supervise::prepare()?;
    enter::enter(holder)?;
    let home = home(arguments.root);
    // The path means this very program, also where the bed has no file of it.
    let mut inside = Command::new("/proc/self/exe");
    inside
        .arg0("xtask")
        .args(["bed", "inside", "--cwd"])
        .arg(arguments.cwd.as_deref().unwrap_or(home.as_ref()));
    inside.args(arguments.root.then_some("--root")).arg("--");
    if arguments.command.is_empty() {
        inside.args(["bash", "--login"]);
    } else {
        inside.args(&arguments.command);
    }
    let child =
        inside.env_clear().envs(variables).spawn().during(|| "start a process in the bed".to_owned())?;
    supervise::pass_on(&child, &signals, supervise::Target::Child)
}

/// The bed's half: becomes the user and runs the command.
pub(crate) fn run_inside(arguments: &Inside) -> Result<ExitCode> {
    if !arguments.root {
        become_user()?;
    }
    let signals = supervise::prepare()?;
    supervise::adopt_orphans()?;
    let started =
        Command::new(&arguments.command[0]).args(&arguments.command[1..]).current_dir(&arguments.cwd).spawn();
    match started {
        Ok(child) => supervise::pass_on(&child, &signals, supervise::Target::Tree),
        // As a shell says it.
        Err(error) => {
            eprintln!("bed exec: `{}`: {error}", arguments.command[0]);
            Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
        }
    }
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
