//! The pod of a helper stage: the host's git and gitlab-runner on the job's directories.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::unistd::getppid;

use crate::context::Context;
use crate::job::Job;
use crate::ownership;
use crate::pod::spec::{Bind, HostToolsRoot, PodCommand, PodSpec, RootSpec};
use crate::state::JobState;

/// Where programs are on every system.
const SYSTEM_DIRECTORIES: [&str; 9] =
    ["/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"];

/// gitlab-runner may lie anywhere (in `$HOME`, on a shared file system), so it is shown at a place of its own.
pub(crate) const RUNNER_DIRECTORY: &str = "/run/gitlab-meta-runner/bin";

/// Variables of the node that git and gitlab-runner need to reach GitLab.
const NETWORK_VARIABLES: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Variables by which environment modules make a git work.
const MODULE_VARIABLES: [&str; 3] = ["LD_LIBRARY_PATH", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR"];

/// The pod that runs the helper script `script`.
pub(crate) fn pod(context: &Context, job: &Job, state: &JobState, script: &Path) -> PodSpec {
    PodSpec {
        hostname: state.hostname.clone(),
        umask: ownership::helper_umask(context, job),
        root: RootSpec::HostTools(root(context, state)),
        command: PodCommand {
            program: PathBuf::from("/bin/bash"),
            args: Vec::new(),
            env: environment(context),
            cwd: PathBuf::from("/"),
            stdin: Some(script.to_owned()),
            output_owner: 0,
            entry: None,
        },
    }
}

/// The root of helper stages.
pub(crate) fn root(context: &Context, state: &JobState) -> HostToolsRoot {
    let paths = &context.paths;
    let bind = |source: &Path, target: &Path| Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: false,
    };
    let job = &state.directories;
    let mut binds = vec![
        bind(&job.builds, &job.builds_inside),
        bind(&job.cache, &job.cache_inside),
        bind(&paths.home(), Path::new("/root")),
    ];
    if let Some(runner) = runner(context) {
        let target = Path::new(RUNNER_DIRECTORY).join("gitlab-runner");
        binds.push(Bind { source: runner, target, read_only: true });
    }
    let mut host_directories: Vec<PathBuf> = SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec();
    for place in programs_elsewhere(context) {
        match place {
            Elsewhere::Whole(top) => host_directories.push(top),
            Elsewhere::Only(path) => {
                binds.push(Bind { source: path.clone(), target: path, read_only: true });
            }
        }
    }
    HostToolsRoot {
        mount_point: paths.job.join("root"),
        host_directories,
        hidden: hidden(context),
        binds,
        home: PathBuf::from("/root"),
    }
}

/// The gitlab-runner that helper stages call for caches and artifacts: the one in PATH, or the one that called us.
pub(crate) fn runner(context: &Context) -> Option<PathBuf> {
    find_real(context, "gitlab-runner").or_else(|| {
        let caller = fs::read_link(format!("/proc/{}/exe", getppid())).ok()?;
        let name = caller.file_name()?.to_str()?;
        (name.starts_with("gitlab-runner") && caller.exists()).then_some(caller)
    })
}

/// How a program that lies outside the system's directories (environment modules) is shown.
#[derive(Debug, PartialEq, Eq)]
enum Elsewhere {
    /// With its whole top-level directory: its libraries may lie in another package there.
    Whole(PathBuf),
    /// With its own directory only: above it is what jobs must not see.
    Only(PathBuf),
}

/// Where `program` is, unless that is shown anyway. `private` are paths that must stay out of sight.
fn elsewhere(program: &Path, private: &[PathBuf]) -> Option<Elsewhere> {
    let has_private = |path: &Path| private.iter().any(|private| private.starts_with(path));
    let top = top_level(program)?;
    if SYSTEM_DIRECTORIES.contains(&top.to_str()?) {
        return None;
    }
    if !has_private(&top) {
        return Some(Elsewhere::Whole(top));
    }
    let bin = program.parent()?;
    let shown = [bin.parent()?, bin].into_iter().find(|path| !has_private(path))?;
    Some(Elsewhere::Only(shown.to_owned()))
}

/// Where git and git-lfs are, as they are found and as they are.
fn programs_elsewhere(context: &Context) -> Vec<Elsewhere> {
    let private = hidden(context);
    let mut places = Vec::new();
    for program in ["git", "git-lfs"] {
        let found = [context.environment.find_program(program), find_real(context, program)];
        for place in found.into_iter().flatten().filter_map(|path| elsewhere(&path, &private)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// What must not be seen where a directory above it is shown.
fn hidden(context: &Context) -> Vec<PathBuf> {
    let paths = &context.paths;
    let ours = [&context.data_dir, &paths.builds_dir, &paths.node_dir];
    context
        .environment
        .home
        .iter()
        .chain(ours)
        .filter(|path| path.as_path() != Path::new("/"))
        .cloned()
        .collect()
}

/// Their whole environment.
pub(crate) fn environment(context: &Context) -> Vec<(String, String)> {
    let node = &context.environment.variables;
    let path = node.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    let mut environment = vec![
        ("HOME".to_owned(), "/root".to_owned()),
        ("PATH".to_owned(), format!("{RUNNER_DIRECTORY}:{path}")),
    ];
    let passed =
        NETWORK_VARIABLES.iter().filter_map(|&name| Some((name.to_owned(), node.get(name)?.clone())));
    environment.extend(passed);
    // A git of environment modules may need them; the system's own must not get another one's libraries.
    if !programs_elsewhere(context).is_empty() {
        let modules =
            MODULE_VARIABLES.iter().filter_map(|&name| Some((name.to_owned(), node.get(name)?.clone())));
        environment.extend(modules);
    }
    environment
}

fn find_real(context: &Context, program: &str) -> Option<PathBuf> {
    context.environment.find_program(program)?.canonicalize().ok()
}

fn top_level(path: &Path) -> Option<PathBuf> {
    let first = path.components().find(|part| matches!(part, Component::Normal(_)))?;
    Some(Path::new("/").join(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_elsewhere_brings_no_private_path() {
        let private = ["/home/ci", "/scratch/ci/node", "/scratch/ci/data"].map(PathBuf::from);
        let only = |path: &str| Some(Elsewhere::Only(path.into()));
        for (program, expected) in [
            ("/usr/bin/git", None),
            ("/opt/git/bin/git", None),
            ("/apps/git/2.50/bin/git", Some(Elsewhere::Whole("/apps".into()))),
            ("/home/ci/.local/bin/git", only("/home/ci/.local")),
            ("/home/ci/bin/git", only("/home/ci/bin")),
            ("/scratch/software/git/bin/git", only("/scratch/software/git")),
            ("/home/git", None),
        ] {
            assert_eq!(elsewhere(Path::new(program), &private), expected, "{program}");
        }
    }
}
