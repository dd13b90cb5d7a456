//! Isolation level C: where we may make no namespaces, Apptainer alone separates the job from the node.
//!
//! Nothing can be shown at another path and there is no root: the job is the user, and sees its directories where they are
//! on the host. Helper stages run in Apptainer, too, on a directory that has nothing but places for the host's programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use meta_core::command_line::quoted;
use meta_host::files::write_private;

use crate::container::{self, Container, mount_argument};
use crate::context::Context;
use crate::directories::{Directories, make};
use crate::entry;
use crate::failure::{StageFailure, chain};
use crate::job::Job;
use crate::node::{LayerLife, Node, Obstacle};
use crate::pod::driver::{self, Outcome};
use crate::pod::init::ENTRY_FD;
use crate::pod::spec::{Bind, EntryText, Mapping, PodCommand, PodSpec, RootSpec};
use crate::state::JobState;
use crate::{gpu, ownership, removal, tools};

/// Apptainer's arguments for everything at this level. Its own `/dev` is docker's but for `full`.
const BASE: [&str; 7] = [
    "exec",
    "--contain",
    "--pid",
    "--ipc",
    "--cleanenv",
    "--no-eval",
    "--no-mount=home,cwd,hostfs,bind-paths,tmp",
];

/// Apptainer's configuration for layers. The kernel's overlayfs, as Apptainer mounts it, cannot mark removed directories in
/// a user namespace: `rm -r` and dpkg fail. Its program fuse-overlayfs can. The rest is as Apptainer has it by default.
const CONFIGURATION: &str = "enable overlay = driver\n";

/// What Apptainer mounts on by itself.
const PLACES: [&str; 5] = ["dev", "etc", "proc", "sys", "tmp"];

/// The pod that runs `container`.
pub(crate) fn pod(context: &Context, node: &Node, container: Container<'_>) -> Result<PodSpec, StageFailure> {
    let mut args = start(context, container.hostname, node.layer);
    let lower = &container.image.rootfs;
    match node.layer {
        LayerLife::Kept => {
            // Apptainer makes places for our mounts, but not for its own.
            make(&container.layer, 0o700)?;
            for name in PLACES.iter().filter(|name| lower.join(name).symlink_metadata().is_err()) {
                make(&container.layer.join("upper").join(name), 0o755)?;
            }
            args.extend(["--overlay".to_owned(), container.layer.display().to_string()]);
        }
        LayerLife::PerStage => args.push("--writable-tmpfs".to_owned()),
    }
    if container.sees_gpus {
        args.extend(gpu::flags(&context.settings));
    }
    let job = container.directories;
    let mut binds = vec![
        bind(&job.builds, &job.builds_inside),
        beside_builds(job)?,
        bind(&job.cache, &job.cache_inside),
        bind(&container.files.join("hosts"), Path::new("/etc/hosts")),
        temporary(context)?,
        full(),
    ];
    binds.extend(container.more_binds.iter().cloned());
    binds.extend(container::configured_binds(&context.settings));
    args.extend(mounts(&binds));
    args.push(lower.display().to_string());
    args.extend(container.command());
    // Apptainer dies of a directory that is not there, and nobody has made it, nor those of volumes.
    let word = |path: &PathBuf| quoted(&path.display().to_string()).into_owned();
    let image = container.image;
    let directories: Vec<String> = image.volumes.iter().chain([&image.working_dir]).map(word).collect();
    let enter =
        format!("mkdir -p {}; cd {}; unset OLDPWD\n", directories.join(" "), word(&image.working_dir));
    let text = entry::text(&container.environment).after(&enter);
    let Container { hostname, umask, .. } = container;
    let script = container.stdin.as_deref().unwrap_or(Path::new("/dev/null"));
    Ok(spec(context, node, hostname, umask, args, text, script))
}

/// The command that runs the helper script `script` with the host's programs.
pub(crate) fn helper(
    context: &Context,
    job: &Job,
    state: &JobState,
    node: &Node,
    script: &Path,
) -> Result<PodSpec, StageFailure> {
    let tools = tools::root(context, state);
    let root = &tools.mount_point;
    let mut binds = Vec::new();
    for directory in &tools.host_directories {
        // On merged-/usr systems /bin and its like are links; a link is copied as a link.
        match fs::read_link(directory) {
            Ok(link) => {
                let target = below(root, directory);
                if target.symlink_metadata().is_err() {
                    symlink(link, &target).map_err(|error| StageFailure::disk(&target, &error))?;
                }
            }
            Err(_) if directory.is_dir() => {
                binds.push(Bind { read_only: true, ..bind(directory, directory) });
            }
            Err(_) => {}
        }
    }
    let empty = context.paths.job.join("empty");
    make(&empty, 0o755)?;
    let shown = |path: &Path| tools.host_directories.iter().any(|directory| path.starts_with(directory));
    binds.extend(
        tools.hidden.iter().filter(|path| path.is_dir() && shown(path)).map(|path| bind(&empty, path)),
    );
    binds.extend(tools.binds.iter().cloned());
    binds.extend([beside_builds(&state.directories)?, temporary(context)?, full()]);
    for bind in &binds {
        make_mount_point(root, bind)?;
    }
    for name in PLACES.into_iter().chain(["var/tmp"]) {
        make(&root.join(name), 0o755)?;
    }
    let mut args = start(context, &state.hostname, LayerLife::PerStage);
    args.extend(mounts(&binds));
    args.push(root.display().to_string());
    args.extend(
        ["/bin/bash", "-c", &format!(". /proc/self/fd/{ENTRY_FD}"), "bash", "/bin/bash"].map(str::to_owned),
    );
    let text = EntryText::new(entry::script(&tools::environment(context).into_iter().collect()));
    let umask = ownership::helper_umask(context, job);
    Ok(spec(context, node, &state.hostname, umask, args, text, script))
}

/// Whether a container can be run at this level, and what it can write to.
pub(crate) fn probe(context: &Context, apptainer: &Path) -> Result<LayerLife, Obstacle> {
    let directory = context.paths.node_dir.join(format!("probe-{}", std::process::id()));
    let result = try_layers(&directory, apptainer, context);
    // What Apptainer left there, overlayfs's work directory of mode 000 included, is the user's.
    let _ = removal::main(&[directory.display().to_string()]);
    result
}

fn try_layers(directory: &Path, apptainer: &Path, context: &Context) -> Result<LayerLife, Obstacle> {
    write_private(&configuration(context), CONFIGURATION.as_bytes()).map_err(|error| chain(&error))?;
    let (image, layer) = (directory.join("image"), directory.join("layer"));
    for needed in PLACES.map(|name| image.join(name)).iter().chain([&layer, &image.join("old/directory")]) {
        make(needed, 0o755).map_err(|failure| failure.to_string())?;
    }
    let mut binds = Vec::new();
    for name in ["/usr", "/bin", "/lib", "/lib64"].map(Path::new).into_iter().filter(|path| path.is_dir()) {
        make(&below(&image, name), 0o755).map_err(|failure| failure.to_string())?;
        binds.push(bind(name, name));
    }
    let kept = vec!["--overlay".to_owned(), layer.display().to_string()];
    let said = directory.join("said");
    let mut reasons = Vec::new();
    for (layer, flags) in
        [(LayerLife::Kept, kept), (LayerLife::PerStage, vec!["--writable-tmpfs".to_owned()])]
    {
        // What Apptainer says of a try is a reason for the one who reads that all failed, and else nothing for a job's log.
        let quietly = ["-c", r#"exec "$@" 2>"$0""#].map(str::to_owned).into_iter();
        let command = PodCommand {
            program: "/bin/sh".into(),
            args: quietly
                .chain([said.display().to_string(), apptainer.display().to_string()])
                .chain(words_for(context, layer))
                .chain(flags)
                .chain(mounts(&binds))
                .chain([image.display().to_string()])
                .chain(["/bin/rm", "-r", "/old"].map(str::to_owned))
                .collect(),
            env: container::apptainer_environment(context),
            cwd: "/".into(),
            stdin: None,
            output_owner: 0,
            entry: None,
            inside: None,
        };
        let spec = PodSpec { hostname: "probe".to_owned(), umask: 0o022, root: RootSpec::Host, command };
        match driver::run(&spec, Mapping::Unmapped) {
            Ok(Outcome { stopped: Some(by), .. }) => return Err(Obstacle::Stop(by)),
            Ok(outcome) if outcome.code == 0 => return Ok(layer),
            Ok(outcome) => reasons.push(what_apptainer_said(&said, outcome.code)),
            Err(error) => reasons.push(chain(&error)),
        }
    }
    Err(reasons.join(", ").into())
}

fn what_apptainer_said(file: &Path, code: i32) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    match text.trim().lines().next_back() {
        Some(line) => format!("`{line}`, exit code {code}"),
        None => format!("Apptainer ended with exit code {code}"),
    }
}

fn start(context: &Context, hostname: &str, layer: LayerLife) -> Vec<String> {
    let hostname = ["--hostname", hostname, "--cwd", "/"].map(str::to_owned);
    words_for(context, layer).chain(hostname).collect()
}

/// Apptainer's words up to the image's own. With set-user-id root it refuses a configuration, and a layer.
fn words_for(context: &Context, layer: LayerLife) -> impl Iterator<Item = String> {
    let configuration = match layer {
        LayerLife::Kept => vec!["--config".to_owned(), configuration(context).display().to_string()],
        LayerLife::PerStage => Vec::new(),
    };
    ["-s".to_owned()].into_iter().chain(configuration).chain(BASE.map(str::to_owned))
}

fn configuration(context: &Context) -> PathBuf {
    context.paths.node_dir.join("apptainer.conf")
}

/// `/tmp`, kept until after_script. Apptainer's own has 64 MB.
fn temporary(context: &Context) -> Result<Bind, StageFailure> {
    let temporary = context.paths.job.join("tmp");
    make(&temporary, 0o1777)?;
    Ok(bind(&temporary, Path::new("/tmp")))
}

/// Missing in Apptainer's own `/dev`.
fn full() -> Bind {
    bind(Path::new("/dev/full"), Path::new("/dev/full"))
}

fn bind(source: &Path, target: &Path) -> Bind {
    Bind { source: source.to_owned(), target: target.to_owned(), read_only: false }
}

fn mounts(binds: &[Bind]) -> impl Iterator<Item = String> {
    binds.iter().flat_map(|bind| ["--mount".to_owned(), mount_argument(bind)])
}

/// Where gitlab-runner puts its own files for a job with `GIT_CLONE_PATH: $CI_BUILDS_DIR`: beside the checkout.
fn beside_builds(job: &Directories) -> Result<Bind, StageFailure> {
    let [source, target] = [&job.builds, &job.builds_inside].map(|builds| builds.with_added_extension("tmp"));
    make(&source, 0o777)?;
    Ok(bind(&source, &target))
}

/// A place in the directory of helper stages, which has no layer in which Apptainer could make it.
fn make_mount_point(root: &Path, bind: &Bind) -> Result<(), StageFailure> {
    let target = below(root, &bind.target);
    if bind.source.is_dir() {
        return make(&target, 0o755);
    }
    if let Some(parent) = target.parent() {
        make(parent, 0o755)?;
    }
    fs::File::create(&target).map(drop).map_err(|error| StageFailure::disk(&target, &error))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn spec(
    context: &Context,
    node: &Node,
    hostname: &str,
    umask: u32,
    args: Vec<String>,
    entry: EntryText,
    script: &Path,
) -> PodSpec {
    PodSpec {
        hostname: hostname.to_owned(),
        umask,
        root: RootSpec::Host,
        command: PodCommand {
            program: node.apptainer.clone(),
            args,
            env: container::apptainer_environment(context),
            cwd: "/".into(),
            stdin: Some(script.to_owned()),
            output_owner: 0,
            entry: Some(entry),
            inside: None,
        },
    }
}
