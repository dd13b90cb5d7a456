//! Where a job's files are.

use super::Build;
use super::failure::{JobError, Reason};
use super::settings::GitStrategy;
use crate::shell::paths::{clean, join};

#[derive(Clone, Debug, Default)]
pub(crate) struct Directories {
    /// `CI_BUILDS_DIR`. Empty until the executor has said where.
    pub(crate) root: String,
    /// The project's part of the cache directory.
    pub(crate) cache: String,
    /// `CI_PROJECT_DIR`.
    pub(crate) project: String,
}

impl Directories {
    /// The sibling of the project directory that holds file variables and git's configuration.
    pub(crate) fn temporary(&self) -> String {
        format!("{}.tmp", self.project)
    }
}

/// Settles the directories of a build and its variables with them. `shared`: several jobs may use `root` at once.
pub(crate) fn settle(build: &mut Build, root: &str, cache: &str, shared: bool) -> Result<(), JobError> {
    if root.is_empty() {
        return Err(JobError::configuration("the builds_dir is not configured"));
    }
    if cache.is_empty() {
        return Err(JobError::configuration("the cache_dir is not configured"));
    }
    build.directories.root = root.to_owned();
    build.directories.cache = join(cache, &project_part(build, false));
    build.refresh();
    build.directories.project = project_directory(build, shared)?;
    build.refresh();
    Ok(())
}

fn project_directory(build: &Build, shared: bool) -> Result<String, JobError> {
    let root = &build.directories.root;
    let wanted = &build.settings.git_clone_path;
    if wanted.is_empty() {
        return Ok(join(root, &project_part(build, shared)));
    }
    if !build.runner.custom_build_dir.enabled.unwrap_or(false) {
        return Err(JobError::configuration(
            "setting GIT_CLONE_PATH is not allowed, enable `custom_build_dir` feature",
        ));
    }
    let (root_clean, wanted_clean) = (clean(root), clean(wanted));
    let within = wanted_clean == root_clean
        || wanted_clean.starts_with(&format!("{}/", root_clean.trim_end_matches('/')));
    if within {
        return Ok(wanted_clean);
    }
    let message = format!("the GIT_CLONE_PATH=\"{wanted}\" has to be within \"{root}\"");
    Err(JobError::Build { message, exit_code: 0, reason: Reason::ConfigurationError })
}

/// `group/project`, below the runner's short token and slot where the directory is shared. run-single is always slot 0.
fn project_part(build: &Build, shared: bool) -> String {
    let slug = slug(&build.job.git_info.repo_url)
        .unwrap_or_else(|| format!("project-{}", build.job.job_info.project_id));
    let mut part = if shared { join(&format!("{}/0", build.runner.short_token()), &slug) } else { slug };
    if build.settings.git_strategy == GitStrategy::Empty {
        part.push_str("-empty");
    }
    part
}

/// The path of a repository's URL without `.git`; none for what is no URL with a host.
fn slug(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split(['?', '#']).next().unwrap_or("");
    if scheme.is_empty() || host.is_empty() || path.contains("..") {
        return None;
    }
    let path = format!("/{path}");
    Some(clean(path.strip_suffix(".git").unwrap_or(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_come_from_urls_only() {
        assert_eq!(
            slug("http://gitlab-ci-token:t@127.0.0.1:8929/hpc/solver.git").as_deref(),
            Some("/hpc/solver")
        );
        assert_eq!(slug("https://h//a/b.git/").as_deref(), Some("/a/b.git"));
        assert_eq!(slug("/srv/git/a.git"), None);
        assert_eq!(slug("http://h/../a.git"), None);
    }
}
