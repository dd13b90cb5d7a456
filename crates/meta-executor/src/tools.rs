//! The pod of a helper stage: the host's git and gitlab-runner on the job's directories.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::getppid;

use crate::context::Context;
use crate::elsewhere::{self, MODULE_VARIABLES, SYSTEM_DIRECTORIES, both_forms};
use crate::job::Job;
use crate::ownership;
use crate::pod::spec::{Bind, HostToolsRoot, PodCommand, PodSpec, RootSpec};
use crate::state::JobState;

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
            inside: None,
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
    let hidden = hidden(context);
    let elsewhere = elsewhere::directories(&context.environment, &hidden);
    binds.extend(elsewhere.into_iter().map(|path| Bind {
        source: path.clone(),
        target: path,
        read_only: true,
    }));
    HostToolsRoot {
        mount_point: paths.job.join("root"),
        host_directories: SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec(),
        hidden,
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

/// What must not be seen where a directory above it is shown. By links, too: `$HOME` is often reached by one.
fn hidden(context: &Context) -> Vec<PathBuf> {
    let Context { environment, data_dir, settings, instance, paths, .. } = context;
    let ours = [data_dir, &paths.builds_dir, &paths.node_dir];
    let configured =
        [&instance.cache_dir, &settings.image_dir, &settings.image_cache_dir, &settings.image_tmp_dir];
    let all = ours.into_iter().chain(&environment.home).chain(configured.into_iter().flatten());
    let mut hidden: Vec<PathBuf> =
        all.flat_map(|path| both_forms(path)).filter(|path| path.as_path() != Path::new("/")).collect();
    hidden.sort();
    hidden.dedup();
    hidden
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
    if !elsewhere::directories(&context.environment, &hidden(context)).is_empty() {
        let modules =
            MODULE_VARIABLES.iter().filter_map(|&name| Some((name.to_owned(), node.get(name)?.clone())));
        environment.extend(modules);
    }
    environment
}

fn find_real(context: &Context, program: &str) -> Option<PathBuf> {
    context.environment.find_program(program)?.canonicalize().ok()
}
