//! Troubles that last: each is told when it begins or changes, and once an hour, not at every tick.

use std::collections::BTreeMap;

use meta_core::launches::Trouble;
use meta_host::clock;

/// What is wrong, by what it is about.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    known: BTreeMap<String, Trouble>,
    /// Whether there was any in this tick.
    met: bool,
}

impl Troubles {
    /// Goes on where the tick that wrote the ledger has stopped, in this process or another one.
    pub(crate) fn recall(&mut self, known: BTreeMap<String, Trouble>) {
        self.known = known;
    }

    /// For the ledger.
    pub(crate) fn known(&self) -> BTreeMap<String, Trouble> {
        self.known.clone()
    }

    /// Tells it, unless that was done.
    pub(crate) fn error(&mut self, about: &str, text: &str) {
        if self.is_to_be_told(about, text) {
            log::error!("{text}");
        }
    }

    /// Like [`Troubles::error`], for an error that has its own form.
    pub(crate) fn failure(&mut self, about: &str, error: &dyn meta_host::Failure) {
        if self.is_to_be_told(about, error.report().trim_start_matches("error: ")) {
            meta_host::app::report(error);
        }
    }

    /// It is not there, or not any more.
    pub(crate) fn over(&mut self, about: &str) {
        if let Some(trouble) = self.known.get_mut(about)
            && trouble.is_over(clock::now())
        {
            log::warn!("{about}: it works again");
        }
    }

    /// Whether there was any since the last call.
    pub(crate) fn take_met(&mut self) -> bool {
        std::mem::take(&mut self.met)
    }

    fn is_to_be_told(&mut self, about: &str, text: &str) -> bool {
        self.met = true;
        let now = clock::now();
        match self.known.get_mut(about) {
            Some(trouble) => trouble.is_met(text, now),
            None => {
                self.known.insert(about.to_owned(), Trouble::new(text, now));
                true
            }
        }
    }
}
