//! Work on images that needs the ids of a job: this program again, in a pod on the host's root.

use super::store::StoreError;
use crate::pod::driver;
use crate::pod::spec::{Mapping, PodSpec, RootSpec};

/// Exit codes of these commands, beside 0 and 1.
pub(crate) const BROKEN_IMAGE: u8 = 3;
pub(crate) const FULL_DISK: u8 = 4;

/// Runs `meta-executor WORDS` and waits for it. What it says on stderr is in the job log.
pub(super) fn run(words: Vec<String>, mapping: Mapping) -> Result<(), StoreError> {
    let spec = PodSpec::own_work("images", RootSpec::Host, words);
    let outcome = driver::run(&spec, mapping).map_err(StoreError::Pod)?;
    if outcome.stopped.is_some() {
        return Err(StoreError::Stopped);
    }
    match u8::try_from(outcome.code) {
        Ok(0) => Ok(()),
        Ok(BROKEN_IMAGE) => Err(StoreError::Broken),
        Ok(FULL_DISK) => Err(StoreError::Full),
        _ => Err(StoreError::Unpack(outcome.code)),
    }
}
