//! The ledger while a tick works on it: read under the lease, and saved step by step.

use std::path::PathBuf;
use std::time::Duration;

use meta_core::launches::{Launch, Ledger};
use meta_host::files::{make_data_dir, remove_abandoned, write_private};
use meta_host::lease::{Lease, LeaseError};

use crate::failure::LauncherError;
use crate::setup::Setup;

/// A tick that meets another one leaves soon.
const LEASE_WAIT: Duration = Duration::from_secs(5);

/// The ledger, and the right to write it. The lease is released on drop.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    path: PathBuf,
    /// The file's text.
    saved: String,
    pub(crate) lease: Lease,
}

impl Book {
    /// `None` if somebody else has it, who does what there is to do.
    pub(crate) fn open(setup: &Setup<'_>) -> Result<Option<Self>, LauncherError> {
        make_data_dir(&setup.paths.data_dir).map_err(LauncherError::File)?;
        let lease = match Lease::acquire(&setup.paths.lease(setup.name()), LEASE_WAIT) {
            Ok(lease) => lease,
            Err(error @ LeaseError::Held { .. }) => {
                log::info!("nothing is done: {error}");
                return Ok(None);
            }
            Err(error) => return Err(LauncherError::Lease(error)),
        };
        remove_abandoned(&setup.paths.launches(setup.name()));
        let ledger = setup.ledger()?;
        let (path, saved) = (setup.paths.launches(setup.name()), ledger.render());
        Ok(Some(Self { ledger, path, saved, lease }))
    }

    /// Writes the file if the ledger has changed. A lease that another process took over is an error before that.
    pub(crate) fn save(&mut self) -> Result<(), LauncherError> {
        self.lease.renew().map_err(LauncherError::Lease)?;
        let text = self.ledger.render();
        if text != self.saved {
            write_private(&self.path, text.as_bytes()).map_err(LauncherError::File)?;
            self.saved = text;
        }
        Ok(())
    }

    /// Puts what a launch has become in its place, and counts what it has lost.
    pub(crate) fn replace(&mut self, changed: Launch) {
        let Some(launch) = self.ledger.launches.iter_mut().find(|launch| launch.id == changed.id) else {
            return;
        };
        let lost = changed.lost_at.keys().filter(|job| !launch.lost_at.contains_key(job)).count();
        if lost > 0 {
            self.ledger.totals.of(changed.instance.as_str()).lost += lost as u64;
        }
        *launch = changed;
    }
}
