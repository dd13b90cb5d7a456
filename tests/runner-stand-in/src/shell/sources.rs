//! `get_sources` and `clear_worktree`.

use super::git_urls::{self, Remote};
use super::paths::join;
use super::scripts::{self, Stop};
use super::writer::Writer;
use super::{cleanup, submodules, user};
use crate::build::Build;
use crate::build::settings::{GitStrategy, SubmoduleStrategy};
use crate::job::variables::Variable;
use crate::version;

/// Holds credentials and rewrites, outside the checkout; included by the checkout's configuration.
pub(super) const EXTERNAL_CONFIG: &str = ".gitlab-runner.ext.conf";
pub(super) const TEMPLATE: &str = "git-template";
/// The absolute path of [`EXTERNAL_CONFIG`], known only when the script runs.
pub(super) const EXTERNAL_CONFIG_VARIABLE: &str = "$GLR_EXT_GIT_CONFIG_PATH";
/// Gives the job token to git where URLs have none.
const CREDENTIAL_HELPER: &str =
    r#"!f(){ if [ "$1" = "get" ] ; then echo "password=${CI_JOB_TOKEN}" ; fi ; } ; f"#;

pub(super) fn get_sources(build: &Build, writer: &mut Writer) -> Result<(), Stop> {
    scripts::exports(build, writer);
    writer.variable(&Variable::internal("GIT_TERMINAL_PROMPT", "0"));
    writer.variable(&Variable::internal("GCM_INTERACTIVE", "Never"));
    hooks(build, "pre_clone_script", writer);
    if !build.settings.lfs_skip_smudge {
        writer.variable(&Variable::internal("GIT_LFS_SKIP_SMUDGE", "1"));
    }
    let directory = build.directories.project.clone();
    let fetched = match build.settings.git_strategy {
        strategy @ (GitStrategy::Fetch | GitStrategy::Clone) => {
            fetch(build, strategy, writer)?;
            true
        }
        GitStrategy::None => {
            writer.notice("Skipping Git repository setup");
            writer.make_directory(&directory);
            false
        }
        GitStrategy::Empty => {
            writer.notice("Skipping Git repository setup and creating an empty build directory");
            writer.remove_directory(&directory);
            writer.make_directory(&directory);
            false
        }
    };
    if fetched && build.settings.git_checkout {
        checkout(build, writer)?;
    } else {
        writer.notice("Skipping Git checkout");
    }
    match build.settings.submodule_strategy {
        SubmoduleStrategy::Normal if fetched => submodules::update(build, false, writer)?,
        SubmoduleStrategy::Recursive if fetched => submodules::update(build, true, writer)?,
        SubmoduleStrategy::Invalid if fetched => {
            return Err(Stop::Error("unknown GIT_SUBMODULE_STRATEGY".to_owned()));
        }
        _ => writer.notice("Skipping Git submodules setup"),
    }
    hooks(build, "post_clone_script", writer);
    reject_credentials(build, writer);
    Ok(())
}

/// The runner's hook and the job's, the runner's outside.
fn hooks(build: &Build, prefix: &str, writer: &mut Writer) {
    if matches!(build.settings.git_strategy, GitStrategy::None | GitStrategy::Empty) {
        return;
    }
    let of_job = |name: &str| {
        let hook = build.job.hooks.iter().flatten().find(|hook| hook.name == name);
        hook.into_iter().flat_map(|hook| hook.script.iter().flatten()).map(String::as_str).collect::<Vec<_>>()
    };
    let mut list = if prefix == "pre_clone_script" {
        let mut list = vec![build.runner.pre_get_sources_script.as_str()];
        list.extend(of_job("pre_get_sources_script"));
        list
    } else {
        let mut list = of_job("post_get_sources_script");
        list.push(&build.runner.post_get_sources_script);
        list
    };
    list.retain(|command| !command.is_empty());
    user::commands(build, prefix, list, writer);
}

fn fetch(build: &Build, strategy: GitStrategy, writer: &mut Writer) -> Result<(), Stop> {
    let directory = build.directories.project.as_str();
    cleanup::git_leftovers(build, writer);
    let template = writer.temporary_directory(TEMPLATE);
    let template_config = join(&template, "config");
    let external = writer.temporary_file(EXTERNAL_CONFIG);
    if build.runner.safe_directory_checkout.unwrap_or(false) {
        writer.command(&["git", "config", "--global", "--add", "safe.directory", directory]);
    }
    for (key, value) in [
        ("init.defaultBranch", "none"),
        ("fetch.recurseSubmodules", "false"),
        ("credential.interactive", "never"),
        ("gc.autoDetach", "false"),
    ] {
        writer.command(&["git", "config", "-f", &template_config, key, value]);
    }
    external_config(build, &external, writer)?;
    include_external(&template_config, &external, writer);
    writer.export_expanding(EXTERNAL_CONFIG_VARIABLE.trim_start_matches('$'), &external);
    if strategy == GitStrategy::Clone {
        writer.remove_directory(directory);
    }
    fetch_refspecs(build, &template, writer);
    Ok(())
}

fn external_config(build: &Build, file: &str, writer: &mut Writer) -> Result<(), Stop> {
    writer.remove_file(file);
    if build.flag("FF_USE_GITALY_CORRELATION_ID") {
        let id = &build.job.correlation_id;
        let header = format!("X-Gitaly-Correlation-ID: {id}");
        writer.command_expanding(&["git", "config", "-f", file, "http.extraHeader", &header]);
        writer.notice(&format!("Gitaly correlation ID: {id}"));
    }
    if build.flag("FF_USE_GIT_BUNDLE_URIS") {
        writer.command_expanding(&["git", "config", "-f", file, "transfer.bundleURI", "true"]);
    }
    let remote = Remote::of(build);
    if let Remote::Url(url) = &remote
        && !build.ca_chain.is_empty()
    {
        let key = format!("http.{}.sslCAInfo", url.host_only());
        writer.command_expanding(&["git", "config", "-f", file, &key, "$CI_SERVER_TLS_CA_FILE"]);
    }
    for (used, written) in git_urls::instead_ofs(build)? {
        let key = format!("url.{used}.insteadOf");
        let pattern = format!("^{}$", quote_pattern(&written));
        writer.command_expanding(&[
            "git",
            "config",
            "--file",
            file,
            "--replace-all",
            &key,
            &written,
            &pattern,
        ]);
    }
    if git_urls::tokenless(build)
        && let Remote::Url(url) = &remote
    {
        let section = format!("credential.{}", url.host_only());
        let (helper, user) =
            (writer.escape(&format!("{section}.helper")), writer.escape(&format!("{section}.username")));
        let program = writer.escape(CREDENTIAL_HELPER);
        writer.line(&format!(
            "git config -f \"{file}\" --replace-all {helper} \"\" && git config -f \"{file}\" --add {helper} {program} && \
             git config -f \"{file}\" {user} gitlab-ci-token"
        ));
        writer.check_for_errors();
    }
    Ok(())
}

/// Makes `config` include the external file, in place of any earlier one of that name.
pub(super) fn include_external(config: &str, external: &str, writer: &mut Writer) {
    let pattern = format!("{}$", quote_pattern(EXTERNAL_CONFIG));
    writer.command_expanding(&[
        "git",
        "config",
        "--file",
        config,
        "--replace-all",
        "include.path",
        external,
        &pattern,
    ]);
}

fn fetch_refspecs(build: &Build, template: &str, writer: &mut Writer) {
    let (directory, git) = (build.directories.project.as_str(), &build.job.git_info);
    let depth = git.depth.to_string();
    if git.depth > 0 {
        writer.notice(&format!("Fetching changes with git depth set to {depth}..."));
    } else {
        writer.notice("Fetching changes...");
    }
    let mut init = vec!["git", "init", directory, "--template", template];
    if !matches!(git.repo_object_format.as_str(), "" | "sha1") {
        init.extend(["--object-format", &git.repo_object_format]);
    }
    writer.command(&init);
    writer.command(&["cd", directory]);
    let url = Remote::of(build).without_credentials();
    writer.if_command(&["git", "remote", "add", "origin", &url]);
    writer.notice("Created fresh repository.");
    writer.otherwise();
    writer.command(&["git", "remote", "set-url", "origin", &url]);
    include_external(".git/config", EXTERNAL_CONFIG_VARIABLE, writer);
    writer.end_if();

    let agent = format!("http.userAgent={} {} {}", version::NAME, version::VERSION, version::platform());
    let mut fetch = vec!["git", "-c", &agent];
    let proactive = proactive_auth(build);
    fetch.extend(proactive.iter().map(String::as_str));
    fetch.extend(["fetch", "origin", "--no-recurse-submodules"]);
    fetch.extend(git.refspecs.iter().flatten().map(String::as_str));
    if git.depth > 0 {
        fetch.extend(["--depth", &depth]);
    }
    fetch.extend(build.settings.git_fetch_flags.iter().map(String::as_str));
    if git.depth > 0 {
        writer.command(&fetch);
        return;
    }
    let mut unshallow = fetch.clone();
    unshallow.push("--unshallow");
    writer.if_file(".git/shallow");
    writer.command(&unshallow);
    writer.otherwise();
    writer.command(&fetch);
    writer.end_if();
}

/// `FF_USE_GIT_PROACTIVE_AUTH`: send credentials without being asked.
fn proactive_auth(build: &Build) -> Vec<String> {
    match Remote::of(build) {
        Remote::Url(url) if build.flag("FF_USE_GIT_PROACTIVE_AUTH") => {
            vec!["-c".to_owned(), format!("http.{}.proactiveAuth=basic", url.host_only())]
        }
        _ => Vec::new(),
    }
}

fn checkout(build: &Build, writer: &mut Writer) -> Result<(), Stop> {
    let git = &build.job.git_info;
    let short =
        git.sha.get(..8).ok_or_else(|| Stop::Error("the sha has less than 8 characters".to_owned()))?;
    writer.notice(&format!("Checking out {short} as detached HEAD (ref is {})...", git.reference));
    let proactive = proactive_auth(build);
    let mut words = vec!["git", "-c", "submodule.recurse=false"];
    words.extend(proactive.iter().map(String::as_str));
    words.extend(["checkout", "-f", "-q", &git.sha]);
    writer.command(&words);
    clean(build, writer);
    if !build.settings.lfs_skip_smudge {
        writer.if_command(&["git", "lfs", "version"]);
        writer.command(&["git", "lfs", "pull"]);
        writer.line("echo");
        writer.end_if();
    }
    Ok(())
}

/// `git clean` with the job's flags, unless it wants none.
pub(super) fn clean(build: &Build, writer: &mut Writer) {
    let flags = &build.settings.git_clean_flags;
    if !flags.is_empty() {
        let words: Vec<&str> = ["git", "clean"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        writer.command(&words);
    }
}

/// Lets a credential helper of the user's forget the job token. Best effort.
pub(super) fn reject_credentials(build: &Build, writer: &mut Writer) {
    let Remote::Url(url) = Remote::of(build) else { return };
    if !url.has_host() || !matches!(url.scheme.as_str(), "http" | "https" | "ssh") {
        return;
    }
    let request = format!("url={}\nusername=gitlab-ci-token", url.host_only());
    let (echo, git) = (writer.words(&["echo", &request]), writer.words(&["git", "credential", "reject"]));
    writer.line(&format!("{echo} | {git} || true"));
}

pub(super) fn clear_worktree(build: &Build, writer: &mut Writer) {
    let directory = build.directories.project.as_str();
    writer.notice("Deleting tracked and untracked files...");
    writer.if_directory(directory);
    writer.command(&["cd", directory]);
    writer.command(&["git", "rm", "-rf", "--ignore-unmatch", "--quiet", "."]);
    writer.command(&["git", "clean", "-ffdx", "-q"]);
    writer.end_if();
}

/// Go's `regexp.QuoteMeta`.
fn quote_pattern(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}
