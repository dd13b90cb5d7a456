//! Where a job's stages run: [`custom`] calls a driver, [`shell`] runs them on this host.

pub(crate) mod custom;
pub(crate) mod process;
pub(crate) mod shell;

use crate::build::Build;
use crate::build::failure::JobError;
use crate::config::Runner;
use crate::scope::Scope;
use custom::CustomExecutor;
use shell::ShellExecutor;

/// What [`Runner::executor`] can be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Custom,
    Shell,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "custom" => Some(Self::Custom),
            "shell" => Some(Self::Shell),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Executor {
    Custom(Box<CustomExecutor>),
    Shell(ShellExecutor),
}

impl Executor {
    pub(crate) fn new(kind: Kind, runner: &Runner) -> Self {
        match kind {
            Kind::Custom => Self::Custom(Box::new(CustomExecutor::new(runner))),
            Kind::Shell => Self::Shell(ShellExecutor::new(runner)),
        }
    }

    /// Makes the environment ready and settles the build's directories.
    pub(crate) fn prepare(&mut self, build: &mut Build, scope: &Scope) -> Result<(), JobError> {
        match self {
            Self::Custom(executor) => executor.prepare(build, scope),
            Self::Shell(executor) => executor.prepare(build),
        }
    }

    pub(crate) fn run(
        &self,
        build: &Build,
        stage: &str,
        script: &str,
        scope: &Scope,
    ) -> Result<(), JobError> {
        match self {
            Self::Custom(executor) => executor.run(build, stage, script, scope),
            Self::Shell(executor) => executor.run(build, script, scope),
        }
    }

    pub(crate) fn cleanup(&self, build: &Build) {
        match self {
            Self::Custom(executor) => executor.cleanup(build),
            Self::Shell(_) => {}
        }
    }

    /// The shell that scripts are written for, and what they call as gitlab-runner.
    pub(crate) fn script_target(&self) -> Target<'_> {
        match self {
            Self::Custom(executor) => Target { shell: &executor.shell, runner_command: "gitlab-runner" },
            Self::Shell(executor) => Target { shell: &executor.shell, runner_command: &executor.own_path },
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) shell: &'a str,
    pub(crate) runner_command: &'a str,
}
