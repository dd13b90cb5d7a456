//! The bed: a small real cluster inside `target/bed`.
//!
//! `up` makes a Debian root file system once, writes the cluster's configuration into it, and starts the *holder*:
//! a process that owns all namespaces of the bed and is their PID 1. Daemons and everything that `exec` starts live
//! below it, so that the end of the holder ends them all and leaves nothing mounted.

use crate::failure::Result;
use clap::Subcommand;
use std::process::ExitCode;

mod accounts;
mod bootstrap;
mod configure;
mod daemons;
mod down;
mod enter;
mod exec;
mod handle;
mod holder;
mod images;
mod install;
mod kernel;
mod mirror;
mod mounts;
mod place;
mod recipe;
mod runner;
mod state;
mod status;
mod supervise;
mod up;

pub(crate) use handle::Handle;

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Makes and starts the bed; does only what is not done yet.
    Up,
    /// Runs a command on the bed's login node, by default a login shell.
    Exec(exec::Arguments),
    /// Ends everything that runs in the bed; its files stay.
    Down,
    /// Prints what runs.
    Status,
    /// Makes the namespaces (called by `up`).
    #[command(hide = true)]
    Hold,
    /// PID 1 of the bed (called by `hold`).
    #[command(hide = true)]
    Init,
    /// Starts `become` and ends its tree at a signal (called by `exec`).
    #[command(hide = true)]
    Supervise(exec::Inside),
    /// Becomes the user and the command (called by `supervise`).
    #[command(hide = true)]
    Become(exec::Inside),
}

pub(crate) fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Up => up::run(),
        Task::Exec(arguments) => exec::run(&arguments),
        Task::Down => down::run(),
        Task::Status => status::run(),
        Task::Hold => holder::hold(),
        Task::Init => holder::init(),
        Task::Supervise(inside) => exec::supervise(&inside),
        Task::Become(inside) => exec::become_command(&inside),
    }
}
