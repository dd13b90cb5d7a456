//! What `status` and `plan` look at: the facts of a tick, without its lease and without changing anything.

use crate::facts::Facts;
use crate::plan::{Plan, plan};
use meta_core::launches::Ledger;
use meta_gitlab::session;
use meta_host::arguments::Paths;
use meta_host::{Environment, Failure as _, clock};

use crate::failure::LauncherError;
use crate::gather;
use crate::setup::Setup;
use crate::troubles::Troubles;

/// What was seen.
pub(crate) struct Seen {
    pub(crate) name: String,
    /// As the file has it.
    pub(crate) ledger: Ledger,
    /// Unix seconds.
    pub(crate) now: u64,
    /// Absent if GitLab does not answer.
    pub(crate) tick: Option<(Facts, Plan)>,
    /// Whether everything could be asked.
    pub(crate) complete: bool,
}

/// Looks. A GitLab that does not answer is told on stderr, and the rest is shown.
pub(crate) fn look(paths: &Paths, environment: &Environment) -> Result<Seen, LauncherError> {
    let setup = Setup::load(paths, environment)?;
    let registrations = setup.registrations()?;
    let mut ledger = setup.ledger()?;
    let gitlab = session::connect(&setup.config, environment).map_err(LauncherError::Session)?;
    let mut troubles = Troubles::default();
    let tick =
        match gather::facts(&setup, &mut ledger, &registrations, &gitlab, &mut troubles, &mut || Ok(())) {
            Ok(facts) => {
                let plan = plan(&facts);
                Some((facts, plan))
            }
            Err(error @ LauncherError::GitLab(_)) => {
                troubles.error("gitlab", error.report().trim_start_matches("error: "));
                None
            }
            Err(error) => return Err(error),
        };
    let complete = !troubles.take_met();
    Ok(Seen { name: setup.name().to_owned(), ledger, now: clock::now(), tick, complete })
}
