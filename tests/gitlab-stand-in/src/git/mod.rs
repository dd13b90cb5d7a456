//! Repositories: bare, below the state directory, read with the real git.

#![expect(clippy::disallowed_methods, reason = "the stand-in runs git itself; nothing of it is shipped")]

mod cgi;
mod http;
mod lfs;

pub(crate) use http::{basic_credentials, serve};

use std::io;
use std::path::Path;
use std::process::Command;

use crate::model::Commit;

/// A git command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("cannot start `git {command}`")]
    Start { command: String, source: io::Error },
    #[error("`git {command}` failed: {stderr}")]
    Failed { command: String, stderr: String },
}

/// Makes an empty bare repository that accepts pushes.
pub(crate) fn create_repository(path: &Path, default_branch: &str) -> Result<(), GitError> {
    let path_text = path.to_string_lossy();
    git(None, &["init", "--quiet", "--bare", "--initial-branch", default_branch, &path_text])?;
    for (key, value) in [
        ("http.receivepack", "true"),
        // Runners fetch single commits and GitLab lets them.
        ("uploadpack.allowAnySHA1InWant", "true"),
        ("uploadpack.allowFilter", "true"),
    ] {
        git(Some(path), &["config", key, value])?;
    }
    Ok(())
}

/// The commit that a branch or tag points to, and whether it is a tag; `None` if there is no such ref.
pub(crate) fn resolve(path: &Path, reference: &str) -> Result<Option<(Commit, bool)>, GitError> {
    for (prefix, tag) in [("refs/heads/", false), ("refs/tags/", true)] {
        let name = format!("{prefix}{reference}^{{commit}}");
        if let Ok(sha) = git(Some(path), &["rev-parse", "--verify", "--quiet", &name]) {
            return Ok(Some((commit(path, sha.trim())?, tag)));
        }
    }
    Ok(None)
}

/// The commit that a branch, a tag or an id names.
pub(crate) fn commit_at(path: &Path, name: &str) -> Option<Commit> {
    let sha = git(
        Some(path),
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")],
    );
    commit(path, sha.ok()?.trim()).ok()
}

/// The text of a file in a commit, if it is there.
pub(crate) fn file_at(path: &Path, sha: &str, file: &str) -> Option<String> {
    git(Some(path), &["show", &format!("{sha}:{file}")]).ok()
}

/// The commit that changed a file last, seen from another one.
pub(crate) fn last_commit(path: &Path, sha: &str, file: &str) -> Option<String> {
    let id = git(Some(path), &["log", "-1", "--format=%H", sha, "--", file]).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Points `refs/pipelines/ID` to the commit, as GitLab does while a pipeline lives.
pub(crate) fn keep_for_pipeline(path: &Path, pipeline_id: i64, sha: &str) -> Result<(), GitError> {
    git(Some(path), &["update-ref", &format!("refs/pipelines/{pipeline_id}"), sha]).map(drop)
}

fn commit(path: &Path, sha: &str) -> Result<Commit, GitError> {
    let text = git(Some(path), &["log", "-1", "--format=%P%x00%an%x00%ae%x00%aI%x00%B", sha])?;
    let mut parts = text.splitn(5, '\0');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let parents = next();
    let before_sha = parents.split_whitespace().next().map_or_else(|| "0".repeat(40), str::to_owned);
    let (author_name, author_email, authored_at) = (next(), next(), next());
    let message = next().trim_end_matches('\n').to_owned() + "\n";
    Ok(Commit { sha: sha.to_owned(), before_sha, message, author_name, author_email, authored_at })
}

/// Runs git without the user's settings and returns its standard output.
fn git(repository: Option<&Path>, arguments: &[&str]) -> Result<String, GitError> {
    let command = arguments.join(" ");
    let mut process = Command::new("git");
    if let Some(repository) = repository {
        process.arg("-C").arg(repository);
    }
    let output = isolated(&mut process).args(arguments).output();
    let output = output.map_err(|source| GitError::Start { command: command.clone(), source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(GitError::Failed { command, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Keeps the machine's and the user's git settings out, and trusts repositories of any owner.
fn isolated(process: &mut Command) -> &mut Command {
    process
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env_remove("GIT_DIR")
}
