//! The documented example: a real file, kept beside the code and read by a test.

use std::path::Path;

use meta_host::files::{make_private_dir, write_private};
use meta_host::{app, exit};

use crate::failure::ConfigureError;

const EXAMPLE: &str = include_str!("../example/gitlab-meta-runner.toml");

/// Prints it; returns the exit code.
pub(crate) fn print() -> u8 {
    app::print(EXAMPLE);
    exit::DONE
}

/// Writes it to `path`. A file that is there is left alone.
pub(crate) fn create(path: &Path) -> Result<u8, ConfigureError> {
    if path.symlink_metadata().is_ok() {
        return Err(ConfigureError::Exists(path.to_owned()));
    }
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        make_private_dir(directory).map_err(ConfigureError::File)?;
    }
    write_private(path, EXAMPLE.as_bytes()).map_err(ConfigureError::File)?;
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_example_is_a_configuration() {
        let config = meta_core::config::parse(Path::new("example.toml"), EXAMPLE)
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.instances.len(), 1);
    }

    #[test]
    fn every_key_that_is_commented_out_is_one() {
        let on: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                // A key with its value; `projects`, `group` and `url` cannot stand beside what is there already.
                Some(header) if header.starts_with("[schedulers.") => format!("{header}\n"),
                Some(key)
                    if key.split_once(" = ").is_some_and(|(name, _)| {
                        name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                    }) && !["projects", "group", "url", "management_token_file"]
                        .iter()
                        .any(|name| key.starts_with(&format!("{name} ="))) =>
                {
                    format!("{key}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(on.contains("\nshm_size = 67108864\n"));
        meta_core::config::parse(Path::new("example.toml"), &on)
            .unwrap_or_else(|problems| panic!("{problems}"));
    }

    #[test]
    fn every_key_of_the_reader_is_documented() {
        // The reader answers an unknown key with the list of those it knows.
        let text = "zzz = 1\n[runners.a]\nzzz = 1\n[poll]\nzzz = 1\n[launch]\nzzz = 1\n[executor]\nzzz = 1\n[schedulers.x]\nzzz = 1\n";
        let problems = meta_core::config::parse(Path::new("x.toml"), text).unwrap_err();
        let hints = problems
            .list()
            .iter()
            .filter_map(|problem| problem.hint.as_deref()?.strip_prefix("known here: "));
        let keys: Vec<&str> =
            hints.flat_map(|hint| hint.split(", ")).map(|key| key.trim_matches('`')).collect();
        assert!(
            ["group_size", "max_launches", "keep_alive", "ca_file", "level"]
                .iter()
                .all(|key| keys.contains(key))
        );
        let documented = |key: &str| {
            EXAMPLE.lines().map(|line| line.trim_start_matches("# ")).any(|line| {
                line.starts_with(&format!("{key} = "))
                    || line.starts_with(&format!("[{key}"))
                    || line.starts_with('[') && line.ends_with(&format!(".{key}]"))
            })
        };
        let missing: Vec<&str> = keys.into_iter().filter(|key| !documented(key)).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn it_is_written_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/gitlab-meta-runner.toml");
        create(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path), Err(ConfigureError::Exists(_))));
    }
}
