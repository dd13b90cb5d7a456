//! The pod of a helper stage: the host's git and gitlab-runner on the job's directories.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::unistd::getppid;

use crate::context::Context;
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

/// The pod that runs the helper script `script`.
pub(crate) fn pod(context: &Context, state: &JobState, script: &Path) -> PodSpec {
    PodSpec {
        hostname: state.hostname.clone(),
        // docker's helper: what is checked out must be writable for whatever user the image runs as.
        umask: 0,
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
    HostToolsRoot {
        mount_point: paths.job.join("root"),
        host_directories: host_directories(context),
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

/// The system's directories, and the top-level directory of a git that lies elsewhere (environment modules).
fn host_directories(context: &Context) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec();
    for program in ["git", "git-lfs"] {
        let found = [context.environment.find_program(program), find_real(context, program)];
        for top in found.into_iter().flatten().filter_map(|path| top_level(&path)) {
            let in_home = context.environment.home.as_ref().is_some_and(|home| home.starts_with(&top));
            if !directories.contains(&top) && !in_home {
                directories.push(top);
            }
        }
    }
    directories
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
    environment
}

fn find_real(context: &Context, program: &str) -> Option<PathBuf> {
    context.environment.find_program(program)?.canonicalize().ok()
}

fn top_level(path: &Path) -> Option<PathBuf> {
    let first = path.components().find(|part| matches!(part, Component::Normal(_)))?;
    Some(Path::new("/").join(first))
}
