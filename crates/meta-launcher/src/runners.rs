//! What GitLab says of our runners beyond their jobs: whether somebody paused one, and whether its token is still good.

use std::collections::{BTreeMap, BTreeSet};

use meta_core::launches::{KnownRunner, Ledger};
use meta_core::name::InstanceName;
use meta_core::registrations::Registration;
use meta_core::secret::Secret;
use meta_gitlab::Client;
use sha2::{Digest as _, Sha256};

use crate::facts::{Obstacle, Site};
use crate::failure::LauncherError;

/// Seconds for which an answer about a runner is good: a pause is noticed that late, and so is its end.
const KNOWN_FOR_S: u64 = 300;

/// Asks about the runners of instances with waiting jobs, and notes the answers. Where none comes what was known counts.
///
/// # Errors
/// The lease is lost.
pub(crate) fn look_for_pauses(
    ledger: &mut Ledger,
    sites: &BTreeMap<InstanceName, Site>,
    with_jobs: &BTreeSet<&InstanceName>,
    gitlab: &Client,
    now: u64,
    keep_lease: &mut dyn FnMut() -> Result<(), LauncherError>,
) -> Result<(), LauncherError> {
    for (name, site) in sites.iter().filter(|(name, _)| with_jobs.contains(name)) {
        let known = ledger.runners.get(name.as_str()).filter(|known| known.id == site.runner);
        if known.is_some_and(|known| now.saturating_sub(known.asked) < KNOWN_FOR_S) {
            continue;
        }
        let was_paused = known.is_some_and(|known| known.paused);
        keep_lease()?;
        let paused = match gitlab.runner(site.runner) {
            Ok(runner) => runner.paused,
            Err(error) => {
                log::debug!("whether the runner of `{name}` is paused is not known: {error}");
                if error.concerns_all_calls() || error.is_trouble_on_the_way() {
                    return Ok(());
                }
                was_paused
            }
        };
        if paused != was_paused {
            let what = if paused { "is paused" } else { "is resumed" };
            log::info!("the runner of `{name}` {what} in GitLab");
        }
        ledger.runners.insert(name.to_string(), KnownRunner { id: site.runner, asked: now, paused });
    }
    Ok(())
}

/// What the ledger knows to be in the way of launches.
pub(crate) fn obstacle(
    ledger: &Ledger,
    name: &InstanceName,
    registration: &Registration,
) -> Option<Obstacle> {
    if is_refused(&ledger.refused_tokens, name, registration) {
        return Some(Obstacle::TokenRefused);
    }
    let known = ledger.runners.get(name.as_str())?;
    (known.id == registration.id && known.paused).then_some(Obstacle::Paused)
}

/// Whether the token that the instance has now is one of those that GitLab was seen to refuse, as the ledger has them.
pub(crate) fn is_refused(
    refused: &BTreeMap<String, String>,
    name: &InstanceName,
    registration: &Registration,
) -> bool {
    refused.get(name.as_str()).is_some_and(|refused| *refused == digest(&registration.token))
}

/// What [`Troubles`](crate::troubles::Troubles) calls a token.
pub(crate) fn about_token(instance: &InstanceName) -> String {
    format!("token of `{instance}`")
}

/// Notes that GitLab took or refused the instance's token.
pub(crate) fn note_token(
    ledger: &mut Ledger,
    name: &InstanceName,
    registration: &Registration,
    is_good: bool,
) {
    if is_good {
        ledger.refused_tokens.remove(name.as_str());
    } else {
        ledger.refused_tokens.insert(name.to_string(), digest(&registration.token));
    }
}

/// Tells tokens apart without telling them.
fn digest(token: &Secret) -> String {
    let digest = Sha256::digest(token.reveal().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
