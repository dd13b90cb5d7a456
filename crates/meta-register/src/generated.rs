//! gitlab-runner's configuration follows the registrations: an entry that is there gets the new id and token.
//!
//! `meta-configure` writes the file. Here only the two values are replaced that make an old file useless, without the
//! templates: they may need variables that this environment does not have. What is rendered later is the same text.

use std::path::Path;

use meta_core::registrations::Registrations;
use meta_host::files::{FileError, read_private, write_private};
use toml_edit::{DocumentMut, Item, Table, value};

/// Rewrites the file if an entry has another id or token than the registration of its name.
///
/// # Errors
/// The file is open to others, or cannot be read or written. One that is not there, or not understood, is left alone:
/// `meta-configure` writes it anew.
pub(crate) fn follow(path: &Path, registrations: &Registrations) -> Result<(), FileError> {
    let text = match read_private(path) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(text) = with_registrations(&text, registrations) else { return Ok(()) };
    log::info!("`{}` gets the ids and tokens that have changed", path.display());
    write_private(path, text.as_bytes())
}

/// The text with the ids and tokens of the registrations; None if it has them already.
fn with_registrations(text: &str, registrations: &Registrations) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let entries = document.get_mut("runners").and_then(Item::as_array_of_tables_mut)?;
    let mut changed = false;
    for entry in entries.iter_mut() {
        let name = entry.get("name").and_then(Item::as_str).and_then(|name| name.parse().ok());
        let Some(registration) = name.and_then(|name| registrations.get(&name)) else { continue };
        // GitLab's ids are signed 64-bit integers themselves.
        let id = i64::try_from(registration.id).unwrap_or(i64::MAX);
        changed |= replace(entry, "id", Item::as_integer, id);
        changed |= replace(entry, "token", as_text, registration.token.reveal().to_owned());
    }
    changed.then(|| document.to_string())
}

fn as_text(item: &Item) -> Option<String> {
    item.as_str().map(str::to_owned)
}

fn replace<T: PartialEq + Clone + Into<toml_edit::Value>>(
    entry: &mut Table,
    key: &str,
    read: impl Fn(&Item) -> Option<T>,
    new: T,
) -> bool {
    let differs = entry.get(key).and_then(read).as_ref() != Some(&new);
    if differs {
        entry.insert(key, value(new));
    }
    differs
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::registrations::Registration;
    use meta_core::secret::Secret;

    /// As `meta-configure` writes it.
    fn rendered(id: u64, token: &str) -> String {
        format!(
            "concurrent = 1\n\n[[runners]]\nbuilds_dir = \"/b\"\nexecutor = \"custom\"\nid = {id}\nname = \"big\"\n\
             token = \"{token}\"\nurl = \"https://gitlab.example.com\"\n[runners.custom]\nrun_exec = \"/x\"\n\n\
             [[runners]]\nid = 9\nname = \"other\"\ntoken = \"glrt-other\"\n"
        )
    }

    #[test]
    fn an_entry_gets_what_a_new_rendering_would_give_it() {
        let registration = Registration {
            id: 8,
            token: Secret::new("glrt-new"),
            token_issued_at: None,
            token_expires_at: None,
        };
        let registrations = Registrations::from([("big".parse().unwrap(), registration)]);
        let new = rendered(8, "glrt-new");
        assert_eq!(with_registrations(&rendered(7, "glrt-old"), &registrations), Some(new.clone()));
        assert_eq!(with_registrations(&rendered(8, "glrt-old"), &registrations), Some(new.clone()));
        assert_eq!(with_registrations(&new, &registrations), None);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for text in
            ["", "concurrent = 1\n", "[[runners]]\n", "[[runners]]\nname = \"../x\"\n", "runners = 1\n", "["]
        {
            assert_eq!(with_registrations(text, &Registrations::new()), None, "{text}");
        }
    }
}
