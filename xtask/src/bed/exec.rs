//! `bed exec`: runs a command on the login node.

use super::accounts::{self, Account};
use super::{enter, state, supervise};
use crate::failure::{During, Failure, Result};
use clap::Args;
use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// As `files/profile.sh` has it: `/usr/local/bin` holds the chosen gitlab-runner, which may be a real one and must be
/// found before the stand-in among our binaries.
const PATH: &str = "/usr/local/bin:/opt/target/debug:/usr/bin:/bin:/usr/sbin:/sbin";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// As root; else as the ordinary user `ci`.
    #[arg(long)]
    root: bool,
    /// As the user `plain`, who has no range of subordinate ids.
    #[arg(long, conflicts_with = "root")]
    plain: bool,
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
    user: String,
    #[arg(long)]
    cwd: PathBuf,
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

impl Arguments {
    fn account(&self) -> Account {
        match (self.root, self.plain) {
            (true, _) => accounts::ROOT,
            (_, true) => accounts::PLAIN,
            _ => accounts::CI,
        }
    }
}

impl Inside {
    /// This program with one of its hidden tasks. The path means this very file, also where the bed has none of it.
    fn next(&self, task: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("xtask").args(["bed", task, "--user", &self.user]);
        command.arg("--cwd").arg(&self.cwd).arg("--").args(&self.command);
        command
    }
}

/// The process on the host: enters the namespaces and starts `supervise` there.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !Uid::effective().is_root() {
        return Err(Failure::new("only root can enter the bed")
            .with_hint("inside, the command runs as `ci` all the same"));
    }
    let holder = state::require()?;
    let account = arguments.account();
    let variables = environment(&account, &arguments.env, std::env::var("TERM").ok())?;
    let login_shell = || vec!["bash".to_owned(), "--login".to_owned()];
    let inside = Inside {
        user: account.name.to_owned(),
        cwd: arguments.cwd.clone().unwrap_or_else(|| account.home.into()),
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
    become_user(&inside.user)?;
    std::env::set_current_dir(&inside.cwd).during(|| format!("enter `{}`", inside.cwd.display()))?;
    supervise::unblock_signals()?;
    let error = Command::new(&inside.command[0]).args(&inside.command[1..]).exec();
    // As a shell says it.
    eprintln!("bed exec: `{}`: {error}", inside.command[0]);
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

fn become_user(name: &str) -> Result<()> {
    let user = User::from_name(name).during(|| format!("look up the user `{name}`"))?.ok_or_else(|| {
        Failure::new(format!("the bed has no user `{name}`")).with_hint("`bed down`, then `bed up`")
    })?;
    let name = CString::new(name).during(|| "name the user".to_owned())?;
    initgroups(&name, user.gid).during(|| "set the groups".to_owned())?;
    setgid(user.gid).during(|| "set the group".to_owned())?;
    setuid(user.uid).during(|| "become the user".to_owned())
}

/// The whole environment of the command: nothing of the host's but the kind of terminal.
fn environment(
    account: &Account,
    added: &[String],
    terminal: Option<String>,
) -> Result<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> = [
        ("PATH", PATH.to_owned()),
        ("HOME", account.home.to_owned()),
        ("USER", account.name.to_owned()),
        ("LOGNAME", account.name.to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if *account != accounts::ROOT {
        variables.push(("XDG_RUNTIME_DIR".to_owned(), format!("/run/user/{}", account.id)));
    }
    variables.extend(terminal.map(|terminal| ("TERM".to_owned(), terminal)));
    for pair in added {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Failure::new(format!("`--env {pair}` has no `=`")).with_hint("write --env NAME=VALUE")
        })?;
        variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::{Account, accounts, environment};

    fn check(account: &Account, name: &str, expected: Option<&str>) {
        let variables = environment(account, &["A=b=c".to_owned()], Some("dumb".to_owned())).unwrap();
        let value = variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert_eq!(value, expected, "{name} of {}", account.name);
    }

    #[test]
    fn each_user_has_an_own_environment() {
        check(&accounts::CI, "HOME", Some("/home/ci"));
        check(&accounts::CI, "XDG_RUNTIME_DIR", Some("/run/user/1000"));
        check(&accounts::PLAIN, "USER", Some("plain"));
        check(&accounts::ROOT, "XDG_RUNTIME_DIR", None);
        check(&accounts::ROOT, "TERM", Some("dumb"));
    }

    #[test]
    fn added_variables_are_split_at_the_first_equals_sign() {
        check(&accounts::CI, "A", Some("b=c"));
    }

    #[test]
    fn a_variable_without_value_is_refused() {
        assert!(environment(&accounts::CI, &["A".to_owned()], None).is_err());
    }
}
