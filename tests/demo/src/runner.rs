//! Which gitlab-runner runs the jobs: a real one, if there is one, else the stand-in.

use std::fmt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::DemoError;
use crate::place::Place;

/// A gitlab-runner, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Runner {
    path: PathBuf,
    version: String,
    real: bool,
}

impl fmt::Display for Runner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.real { "real" } else { "stand-in" };
        write!(formatter, "{kind}, {} ({})", self.version, self.path.display())
    }
}

/// The one that `META_RUNNER_GITLAB_RUNNER` names, the first in PATH, or the stand-in beside this program. It becomes
/// `gitlab-runner` of the demo's PATH.
pub(crate) fn find(place: &Place) -> Result<Runner, DemoError> {
    let path = std::env::var_os("META_RUNNER_GITLAB_RUNNER")
        .map(PathBuf::from)
        .or_else(|| program("gitlab-runner"))
        .or_else(|| Some(beside("gitlab-runner")))
        .filter(|path| path.is_file())
        .ok_or(DemoError::Missing {
            program: "gitlab-runner",
            hint: "`cargo build --workspace --bins` builds the stand-in",
        })?;
    let link = place.join("bin/gitlab-runner");
    symlink(&path, &link).map_err(|source| DemoError::File { path: link, source })?;
    describe(path)
}

/// A program of the PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// A program that was built with this one.
pub(crate) fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new("")).join(name)
}

fn describe(path: PathBuf) -> Result<Runner, DemoError> {
    let output = Command::new(&path)
        .arg("--version")
        .output()
        .map_err(|source| DemoError::Start { program: path.display().to_string(), source })?;
    let (version, real) = parse_version(&String::from_utf8_lossy(&output.stdout));
    Ok(Runner { path, version, real })
}

/// Version, and whether it is the real program, from the lines `Version:` and `Git revision:`.
fn parse_version(text: &str) -> (String, bool) {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    (value("Version:").unwrap_or("unknown").to_owned(), value("Git revision:") != Some("stand-in"))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn the_stand_in_says_what_it_is() {
        let real = "Version:      19.4.0\nGit revision: 1a2b3c4d\nGit branch:   19-4-stable\n";
        assert_eq!(parse_version(real), ("19.4.0".to_owned(), true));
        let stand_in = "Version:      19.4.0\nGit revision: stand-in\n";
        assert_eq!(parse_version(stand_in), ("19.4.0".to_owned(), false));
    }
}
