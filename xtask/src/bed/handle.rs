//! The bed for other tasks, as processes of this program: entering it changes a process for good.

use super::{install, state};
use crate::failure::{During, Failure, Result};
use crate::interrupt::Interrupt;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Handle {
    program: PathBuf,
}

impl Handle {
    /// To be made before anything is built: a build may replace this program's file, and then it has no path any more.
    ///
    /// # Errors
    /// Not root.
    pub(crate) fn new() -> Result<Self> {
        install::require_root()?;
        let program = std::env::current_exe().during(|| "find this program".to_owned())?;
        Ok(Self { program })
    }

    pub(crate) fn is_up(&self) -> bool {
        state::running().is_some()
    }

    /// `bed up`, with its progress on stderr.
    pub(crate) fn up(&self, interrupt: &Interrupt) -> Result<()> {
        interrupt.require(&mut self.task("up"))
    }

    /// `bed down`, whatever asked us to stop.
    pub(crate) fn down(&self) -> Result<()> {
        let status = self.task("down").status().during(|| "start `xtask bed down`".to_owned())?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new("the bed does not end; its message is above"))
        }
    }

    /// `bed exec`, to which options, `--` and a command are to be added.
    pub(crate) fn exec(&self) -> Command {
        self.task("exec")
    }

    fn task(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["bed", name]);
        command
    }
}
