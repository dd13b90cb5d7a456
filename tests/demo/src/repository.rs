//! The sample repository, pushed with real git over HTTP.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::failure::DemoError;
use crate::gitlab::GitLab;
use crate::place::Place;

/// The files of `sample/`: path, text, mode.
const FILES: &[(&str, &str, u32)] = &[
    (".gitlab-ci.yml", include_str!("../sample/.gitlab-ci.yml"), 0o644),
    ("README.md", include_str!("../sample/README.md"), 0o644),
    ("src/primes.sh", include_str!("../sample/src/primes.sh"), 0o755),
    ("tests/primes.sh", include_str!("../sample/tests/primes.sh"), 0o755),
];

/// Commits the files and pushes them to the project's `main`.
pub(crate) fn push(place: &Place, gitlab: &GitLab) -> Result<(), DemoError> {
    let checkout = place.join("checkout");
    for (name, text, mode) in FILES {
        let path = checkout.join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&checkout))?;
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
        };
        write().map_err(|source| DemoError::File { path: path.clone(), source })?;
    }
    let remote = gitlab.remote();
    let commands: [&[&str]; 4] = [
        &["init", "--quiet", "--initial-branch=main"],
        &["add", "."],
        &["commit", "--quiet", "--message=Primes, their tests, and a pipeline"],
        &["push", "--quiet", &remote, "main"],
    ];
    for words in commands {
        git(place, words)?;
    }
    Ok(())
}

/// git without the user's and the machine's settings.
fn git(place: &Place, words: &[&str]) -> Result<(), DemoError> {
    let program = || format!("git {}", words[0]);
    let output = Command::new("git")
        .args(["-c", "user.name=Demo", "-c", "user.email=demo@example.com"])
        .args(words)
        .current_dir(place.join("checkout"))
        .env("HOME", place.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| DemoError::Start { program: program(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(DemoError::Failed { program: program(), status: output.status, output: text })
}
