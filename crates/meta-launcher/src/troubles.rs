//! Troubles that last: each is told when it begins or changes, not at every tick.

use std::collections::BTreeMap;

/// What was told, by what it is about.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    told: BTreeMap<String, String>,
    /// Whether there was any in this tick.
    met: bool,
}

impl Troubles {
    /// Tells it, unless that was done.
    pub(crate) fn error(&mut self, about: &str, text: &str) {
        self.met = true;
        if self.told.get(about).is_none_or(|told| told != text) {
            log::error!("{text}");
            self.told.insert(about.to_owned(), text.to_owned());
        }
    }

    /// Like [`Troubles::error`], for an error that has its own form.
    pub(crate) fn failure(&mut self, about: &str, error: &dyn meta_host::Failure) {
        self.met = true;
        let text = error.report();
        if self.told.get(about).is_none_or(|told| *told != text) {
            meta_host::app::report(error);
            self.told.insert(about.to_owned(), text);
        }
    }

    /// It is over.
    pub(crate) fn over(&mut self, about: &str) {
        if self.told.remove(about).is_some() {
            log::warn!("{about}: it works again");
        }
    }

    /// Whether there was any since the last call.
    pub(crate) fn take_met(&mut self) -> bool {
        std::mem::take(&mut self.met)
    }
}
