//! The registrations on disk.

use std::path::{Path, PathBuf};

use meta_core::registrations::{Registrations, RegistrationsError, parse, parse_reference, render};
use meta_host::files::{FileError, read_private, write_private};
use meta_host::{Failure, exit};

/// What `NAME.registrations.toml` holds, and where it is.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    pub(crate) registrations: Registrations,
}

impl State {
    /// Reads the file; without it, the reference system's `NAME.tokens`; without both there are no registrations.
    pub(crate) fn load(path: &Path, reference_tokens: &Path) -> Result<Self, StateError> {
        let registrations = match read(path, parse)? {
            Some(registrations) => registrations,
            None => read(reference_tokens, parse_reference)?.unwrap_or_default(),
        };
        Ok(Self { path: path.to_owned(), registrations })
    }

    /// Writes the file; an error leaves the old one.
    pub(crate) fn save(&self) -> Result<(), FileError> {
        write_private(&self.path, render(&self.registrations).as_bytes())
    }
}

/// The file is there and cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot use the registrations")]
    File(#[source] FileError),
    #[error("cannot understand `{}`", path.display())]
    Content {
        path: PathBuf,
        #[source]
        source: RegistrationsError,
    },
}

impl Failure for StateError {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Content { path, .. } => Some(format!(
                "repair it, or move it away: `{}` is then written anew, with new tokens for the runners that are ours",
                path.display()
            )),
        }
    }
}

fn read(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<Registrations, RegistrationsError>,
) -> Result<Option<Registrations>, StateError> {
    match read_private(path) {
        Ok(text) => {
            parse(&text).map(Some).map_err(|source| StateError::Content { path: path.to_owned(), source })
        }
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(StateError::File(error)),
    }
}
