//! What is kept on disk: the registrations, and what follows from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meta_core::name::InstanceName;
use meta_core::registrations::{
    Registration, Registrations, RegistrationsError, parse, parse_reference, render,
};
use meta_core::time;
use meta_gitlab::runner_token::TokenState;
use meta_gitlab::runners::IssuedToken;
use meta_host::arguments::Paths;
use meta_host::files::{FileError, read_private_if_any, remove_abandoned, write_private};
use meta_host::{Failure, clock, exit};

use crate::generated;

/// What `NAME.registrations.toml` holds, and where that and the generated file are.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    generated: PathBuf,
    pub(crate) registrations: Registrations,
    /// Whether the file has them.
    saved: bool,
}

impl State {
    /// Reads the file; without it, the reference system's `NAME.tokens`; without both there are no registrations.
    pub(crate) fn load(paths: &Paths, meta_runner: &str) -> Result<Self, StateError> {
        let path = paths.registrations(meta_runner);
        let own = read(&path, parse)?;
        let saved = own.is_some();
        let registrations = match own {
            Some(registrations) => registrations,
            None => read(&paths.reference_tokens(meta_runner), parse_reference)?.unwrap_or_default(),
        };
        Ok(Self { path, generated: paths.generated_config(meta_runner), registrations, saved })
    }

    /// Writes down when GitLab says that the tokens end: the reference system does not know, and an admin can change it.
    pub(crate) fn learn_ends(&mut self, tokens: &BTreeMap<InstanceName, TokenState>) {
        for (name, registration) in &mut self.registrations {
            if let Some(TokenState::Valid { runner_id, expires_at }) = tokens.get(name)
                && *runner_id == registration.id
                && *expires_at != registration.token_expires_at
            {
                registration.token_expires_at.clone_from(expires_at);
                self.saved = false;
            }
        }
    }

    /// Repairs what a run that was killed may have left: the files are as the registrations say, and no half-written one
    /// is there. Also finds out whether we can write, before a token is made.
    pub(crate) fn settle(&mut self) -> Result<(), FileError> {
        for path in [&self.path, &self.generated] {
            remove_abandoned(path);
        }
        if !self.saved {
            write_private(&self.path, render(&self.registrations).as_bytes())?;
            self.saved = true;
        }
        generated::follow(&self.generated, &self.registrations)
    }

    /// Keeps the token of an instance. An error leaves the old file, and the old registration here.
    pub(crate) fn keep(
        &mut self,
        instance: &InstanceName,
        id: u64,
        issued: IssuedToken,
    ) -> Result<(), FileError> {
        let registration = Registration {
            id,
            token: issued.token,
            token_issued_at: issued.expires_at.is_some().then(|| time::format(clock::now())),
            token_expires_at: issued.expires_at,
        };
        let before = self.registrations.insert(instance.clone(), registration);
        if let Err(error) = write_private(&self.path, render(&self.registrations).as_bytes()) {
            match before {
                Some(before) => self.registrations.insert(instance.clone(), before),
                None => self.registrations.remove(instance),
            };
            return Err(error);
        }
        Ok(())
    }

    /// Drops the record of an instance if it is about this runner and not about its successor.
    pub(crate) fn forget(&mut self, instance: &InstanceName, id: u64) -> Result<(), FileError> {
        if self.registrations.get(instance).is_some_and(|registration| registration.id == id) {
            self.registrations.remove(instance);
            write_private(&self.path, render(&self.registrations).as_bytes())?;
        }
        Ok(())
    }

    /// Lets gitlab-runner's configuration follow. After [`State::keep`], never before: the registrations are what counts.
    pub(crate) fn follow(&self) -> Result<(), FileError> {
        generated::follow(&self.generated, &self.registrations)
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
            Self::Content { path, source } => source.hint().or_else(|| {
                Some(format!(
                    "repair it, or move it away: `{}` is then written anew, with new tokens for the runners that are ours",
                    path.display()
                ))
            }),
        }
    }
}

fn read(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<Registrations, RegistrationsError>,
) -> Result<Option<Registrations>, StateError> {
    let content = |source| StateError::Content { path: path.to_owned(), source };
    let text = read_private_if_any(path).map_err(StateError::File)?;
    text.map(|text| parse(&text).map_err(content)).transpose()
}
