//! The command: read, compare, print the plan, apply it.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Parser;
use meta_core::registrations::Registrations;
use meta_gitlab::session::{self, SessionError};
use meta_gitlab::{ApiError, Client};
use meta_host::arguments::{CommonArgs, Paths, PathsError};
use meta_host::configuration::{self, ConfigurationError};
use meta_host::files::{FileError, make_private_dir};
use meta_host::lease::{Lease, LeaseError};
use meta_host::{Environment, Failure, app, exit};

use crate::apply::{ApplyError, apply};
use crate::desired::desired;
use crate::plan::{Action, plan};
use crate::remote::{owners, remote};
use crate::state::{State, StateError};

/// Another run that does its work usually ends within this time.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// Makes GitLab's runners what the configuration says
#[derive(Debug, Parser)]
#[command(name = "meta-register", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Registers, updates and deletes; returns an exit code.
pub(crate) fn run(args: &Args, environment: &Environment) -> Result<u8, RegisterError> {
    let paths = args.common.paths(environment).map_err(RegisterError::Paths)?;
    let config = configuration::load(&paths.config_file).map_err(RegisterError::Configuration)?;
    let gitlab = session::connect(&config, environment).map_err(RegisterError::Session)?;
    if args.dry_run {
        let state = load_state(&paths, config.name.as_str())?;
        print(&make_plan(&config, &gitlab, &state.registrations)?.actions);
        return Ok(exit::DONE);
    }
    make_private_dir(&paths.data_dir).map_err(RegisterError::DataDir)?;
    let mut lease =
        Lease::acquire(&paths.lease(config.name.as_str()), LEASE_WAIT).map_err(RegisterError::Lease)?;
    let mut state = load_state(&paths, config.name.as_str())?;
    let planned = make_plan(&config, &gitlab, &state.registrations)?;
    print(&planned.actions);
    if !paths.registrations(config.name.as_str()).exists() {
        // Takes the reference system's tokens over, and finds out whether we can write before a token is made.
        state.save().map_err(RegisterError::DataDir)?;
    }
    let outcome = apply(&planned.actions, &gitlab, &mut state, &mut lease).map_err(RegisterError::Apply)?;
    Ok(match (outcome.done, outcome.failed + planned.unreadable) {
        (_, 0) => exit::DONE,
        (0, _) => exit::GITLAB,
        _ => exit::PARTIAL,
    })
}

/// Why nothing, or not everything, was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    #[error(transparent)]
    Paths(PathsError),
    #[error(transparent)]
    Configuration(ConfigurationError),
    #[error(transparent)]
    Session(SessionError),
    #[error(transparent)]
    DataDir(FileError),
    #[error(transparent)]
    Lease(LeaseError),
    #[error(transparent)]
    State(StateError),
    #[error("cannot read the runners from GitLab")]
    Read(#[source] ApiError),
    #[error(transparent)]
    Apply(ApplyError),
}

impl RegisterError {
    fn inner(&self) -> &dyn Failure {
        match self {
            Self::Paths(error) => error,
            Self::Configuration(error) => error,
            Self::Session(error) => error,
            Self::DataDir(error) => error,
            Self::Lease(error) => error,
            Self::State(error) => error,
            Self::Read(error) => error,
            Self::Apply(error) => error,
        }
    }
}

impl Failure for RegisterError {
    fn exit_code(&self) -> u8 {
        self.inner().exit_code()
    }

    fn hint(&self) -> Option<String> {
        self.inner().hint()
    }

    fn report(&self) -> String {
        match self {
            Self::Read(error) => {
                format!("error: {self}\ncaused by: {}", error.report().trim_start_matches("error: "))
            }
            _ => self.inner().report(),
        }
    }
}

struct Planned {
    actions: Vec<Action>,
    /// Instances that could not be looked at; reported already.
    unreadable: usize,
}

fn load_state(paths: &Paths, name: &str) -> Result<State, RegisterError> {
    State::load(&paths.registrations(name), &paths.reference_tokens(name)).map_err(RegisterError::State)
}

fn make_plan(
    config: &meta_core::config::Config,
    gitlab: &Client,
    stored: &Registrations,
) -> Result<Planned, RegisterError> {
    let name = config.name.as_str();
    let owners = owners(gitlab, &config.scope).map_err(RegisterError::Read)?;
    let remote = remote(gitlab, name, &owners, stored).map_err(RegisterError::Read)?;
    for error in remote.unreadable.values() {
        app::report(error);
    }
    let (actions, remarks) = plan(name, &desired(config, &owners), stored, &remote);
    for remark in remarks {
        log::warn!("{remark}");
    }
    Ok(Planned { actions, unreadable: remote.unreadable.len() })
}

fn print(actions: &[Action]) {
    let mut out = io::stdout().lock();
    for action in actions {
        // A reader that has closed the pipe has seen enough.
        let _ = writeln!(out, "{action}");
    }
}
