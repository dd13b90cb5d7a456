//! What the process was started with, captured once.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The surroundings of the process at its start.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// Environment variables; those that are not UTF-8 are left out, since no template can name or hold them.
    pub variables: BTreeMap<String, String>,
    /// `$HOME`, if it is set and not empty.
    pub home: Option<PathBuf>,
    /// Our own executable, absolute, as it was found through `argv[0]` and `$PATH`. Symbolic links are kept, so that a
    /// path written into a generated file survives an upgrade that moves the link.
    pub executable: PathBuf,
    /// The current directory; `/` if it no longer exists.
    pub current_dir: PathBuf,
    /// The node name of uname(2).
    pub hostname: String,
    /// The real user id.
    pub uid: u32,
}

impl Environment {
    /// Reads the process's surroundings. Never fails: what cannot be had has the fallback named at its field.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn capture() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let current_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let search_path = variables.get("PATH").map_or("", String::as_str);
        let executable = std::env::args_os()
            .next()
            .and_then(|called_as| locate(Path::new(&called_as), search_path, &current_dir))
            .or_else(|| std::env::current_exe().ok())
            .unwrap_or_default();
        Self {
            home: variables.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            uid: rustix::process::getuid().as_raw(),
            variables,
            executable,
            current_dir,
        }
    }

    /// The path of another of our programs: all of them are installed in one directory.
    pub fn beside(&self, program: &str) -> PathBuf {
        self.executable.with_file_name(program)
    }

    /// The first executable file called `program` in `$PATH`, absolute, or `program` itself if it names a path.
    pub fn find_program(&self, program: &str) -> Option<PathBuf> {
        let search_path = self.variables.get("PATH").map_or("", String::as_str);
        locate(Path::new(program), search_path, &self.current_dir)
    }
}

/// Leaves the values out: one of them may be the management token.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .field("executable", &self.executable)
            .field("current_dir", &self.current_dir)
            .field("hostname", &self.hostname)
            .field("uid", &self.uid)
            .finish()
    }
}

/// Finds what `called_as` means to execvp(3): a path if it has a slash, else the first executable in `search_path`.
fn locate(called_as: &Path, search_path: &str, current_dir: &Path) -> Option<PathBuf> {
    let is_executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if called_as.components().count() > 1 || called_as.is_absolute() {
        return Some(current_dir.join(called_as)).filter(is_executable);
    }
    std::env::split_paths(search_path).map(|dir| current_dir.join(dir).join(called_as)).find(is_executable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_program_is_found_in_the_search_path_with_its_link_kept() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("program");
        symlink("/bin/sh", &link).unwrap();
        let search_path = format!("/nonexistent:{}", dir.path().display());
        assert_eq!(locate(Path::new("program"), &search_path, Path::new("/")), Some(link));
        assert_eq!(locate(Path::new("other"), &search_path, Path::new("/")), None);
    }

    #[test]
    fn a_path_is_taken_from_the_current_directory() {
        assert_eq!(locate(Path::new("bin/sh"), "", Path::new("/")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(locate(Path::new("./sh"), "", Path::new("/bin")), Some(PathBuf::from("/bin/./sh")));
    }

    #[test]
    fn debug_output_has_no_values() {
        let mut environment = Environment::capture();
        environment.variables.insert("META_RUNNER_MANAGEMENT_TOKEN".to_owned(), "glpat-secret".to_owned());
        let text = format!("{environment:?}");
        assert!(text.contains("META_RUNNER_MANAGEMENT_TOKEN") && !text.contains("glpat-secret"));
    }
}
