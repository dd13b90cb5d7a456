//! The command that runs a script in the job's image: Apptainer's arguments and the shell text around the job's own shell.

use std::collections::BTreeMap;
use std::path::Path;

use globset::Glob;

use crate::context::Context;
use crate::pod::init::STARTED_FD;
use crate::pod::spec::{Bind, ImageRoot, Mapping, PodCommand, PodSpec, RootSpec};
use crate::state::{ImageUser, JobState};

/// docker's PATH for an image that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What Apptainer puts into the environment and docker does not. The `BIND` ones would show host paths to the job.
const APPTAINER_VARIABLES: &str = "APPTAINER_APPNAME APPTAINER_BIND APPTAINER_COMMAND APPTAINER_CONTAINER \
    APPTAINER_ENVIRONMENT APPTAINER_NAME APPTAINER_NO_EVAL SINGULARITY_APPNAME SINGULARITY_BIND SINGULARITY_CONTAINER \
    SINGULARITY_ENVIRONMENT SINGULARITY_NAME SINGULARITY_NO_EVAL USER_PATH LD_LIBRARY_PATH PS1 PROMPT_COMMAND LANG";

/// Finds the shell as gitlab-runner does in docker, and gives it the script that is on stdin.
const FIND_SHELL: &str = "for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do \
    if [ -x \"$shell\" ]; then exec \"$shell\"; fi; done; echo 'shell not found'; exit 1";

/// The pod that runs `script` in the prepared image of `state`.
pub(crate) fn pod(context: &Context, state: &JobState, apptainer: &Path, script: &Path) -> PodSpec {
    let overlay = &context.paths.overlay;
    let root = ImageRoot {
        lower: state.image.rootfs.clone(),
        upper: overlay.join("upper"),
        work: overlay.join("work"),
        merged: overlay.join("merged"),
        shm: overlay.join("shm"),
        shm_size: context.settings.shm_size,
        directories: mount_points(context, state),
        files: ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"].map(Into::into).to_vec(),
    };
    let args = apptainer_args(context, state, &root);
    PodSpec {
        hostname: state.hostname.clone(),
        umask: 0o022,
        root: RootSpec::Image(root),
        command: PodCommand {
            program: apptainer.to_owned(),
            args,
            env: apptainer_environment(context),
            cwd: "/".into(),
            stdin: Some(script.to_owned()),
        },
    }
}

fn mount_points(context: &Context, state: &JobState) -> Vec<std::path::PathBuf> {
    let mut directories: Vec<std::path::PathBuf> =
        ["/builds", "/cache", "/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/etc"].map(Into::into).to_vec();
    directories.push(state.image.working_dir.clone());
    directories.extend(
        context.settings.mount.iter().filter(|mount| mount.source.is_dir()).map(|mount| mount.target.clone()),
    );
    directories
}

/// Apptainer's own environment. Every `APPTAINER_*` variable is a flag to it, so nothing of the job may be here.
fn apptainer_environment(context: &Context) -> Vec<(String, String)> {
    let own = context.paths.job.join("apptainer").display().to_string();
    vec![
        (
            "PATH".to_owned(),
            context.environment.variables.get("PATH").cloned().unwrap_or_else(|| DEFAULT_PATH.to_owned()),
        ),
        ("HOME".to_owned(), own.clone()),
        ("TMPDIR".to_owned(), own.clone()),
        ("APPTAINER_CONFIGDIR".to_owned(), own.clone()),
        ("APPTAINER_CACHEDIR".to_owned(), own),
    ]
}

fn apptainer_args(context: &Context, state: &JobState, root: &ImageRoot) -> Vec<String> {
    let settings = &context.settings;
    // `-s` leaves only FATAL lines: a warning per stage about a uid without a passwd entry of the host helps nobody.
    let mut args: Vec<String> = ["-s", "exec", "--contain", "--cleanenv", "--no-eval", "--writable"]
        .into_iter()
        .chain(["--no-mount", "home,cwd,hostfs,bind-paths,tmp"])
        .map(str::to_owned)
        .collect();
    if settings.gpu_nvidia {
        args.push("--nv".to_owned());
    }
    if settings.gpu_amd {
        args.push("--rocm".to_owned());
    }
    let ImageUser { uid, gid, .. } = state.image.user;
    if (uid, gid) != (0, 0) {
        // Where only root is mapped, Apptainer shows root under the wanted ids in a user namespace of its own.
        args.extend((state.mapping == Mapping::RootOnly).then(|| "--userns".to_owned()));
        args.extend([
            "--security".to_owned(),
            format!("uid:{uid}"),
            "--security".to_owned(),
            format!("gid:{gid}"),
        ]);
    }
    args.extend(["--cwd".to_owned(), state.image.working_dir.display().to_string()]);
    for bind in binds(context, state, root) {
        args.extend(["--mount".to_owned(), mount_argument(&bind)]);
    }
    args.push(root.merged.display().to_string());
    args.extend(["sh".to_owned(), "-c".to_owned(), enter_script(context, state), "sh".to_owned()]);
    args.extend(state.image.entrypoint.iter().cloned());
    args.extend(["sh", "-c", FIND_SHELL].map(str::to_owned));
    args
}

fn binds(context: &Context, state: &JobState, root: &ImageRoot) -> Vec<Bind> {
    let bind = |source: &Path, target: &str| Bind {
        source: source.to_owned(),
        target: target.into(),
        read_only: false,
    };
    let mut binds = vec![
        bind(&context.paths.builds(), "/builds"),
        bind(&state.cache, "/cache"),
        // Missing in Apptainer's own /dev.
        bind(Path::new("/dev/full"), "/dev/full"),
        bind(&root.shm, "/dev/shm"),
        bind(&context.paths.job.join("hosts"), "/etc/hosts"),
        bind(&context.paths.job.join("hostname"), "/etc/hostname"),
    ];
    binds.extend(context.settings.mount.iter().map(|mount| Bind {
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
    }));
    binds
}

/// `--mount` takes one CSV record: a field with a comma or a quote is quoted as a whole.
fn mount_argument(bind: &Bind) -> String {
    let field = |name: &str, path: &Path| {
        let field = format!("{name}={}", path.display());
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    };
    let read_only = if bind.read_only { ",ro" } else { "" };
    format!("type=bind,{},{}{read_only}", field("src", &bind.source), field("dst", &bind.target))
}

/// The first shell in the container: reports that it runs, makes docker's environment out of Apptainer's, and becomes the
/// entrypoint.
fn enter_script(context: &Context, state: &JobState) -> String {
    let mut script =
        format!("echo started >&{STARTED_FD}; exec {STARTED_FD}>&-; unset {APPTAINER_VARIABLES}");
    for (name, value) in container_environment(context, state) {
        script.push_str(&format!("; export {name}={}", quoted(&value)));
    }
    script.push_str("; exec \"$@\"");
    script
}

/// The image's variables, docker's, and those of the allocation that `pass_env` names.
fn container_environment(context: &Context, state: &JobState) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    let globs: Vec<_> = context
        .settings
        .pass_env
        .iter()
        .filter_map(|glob| Some(Glob::new(glob).ok()?.compile_matcher()))
        .collect();
    let passed =
        context.environment.variables.iter().filter(|(name, _)| globs.iter().any(|glob| glob.is_match(name)));
    environment.extend(passed.map(|(name, value)| (name.clone(), value.clone())));
    environment.extend(state.image.env.iter().filter_map(|entry| {
        let (name, value) = entry.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    }));
    environment.entry("HOME".to_owned()).or_insert_with(|| state.image.user.home.clone());
    environment.insert("HOSTNAME".to_owned(), state.hostname.clone());
    // A shell cannot export other names; docker can, but nothing that a shell starts sees them there either.
    environment.retain(|name, _| is_shell_name(name));
    environment
}

fn is_shell_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.chars().next().is_some_and(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_survive_the_mount_flag() {
        let bind = |source: &str, read_only| Bind { source: source.into(), target: "/b".into(), read_only };
        assert_eq!(mount_argument(&bind("/a", false)), "type=bind,src=/a,dst=/b");
        assert_eq!(mount_argument(&bind("/a,\"b", true)), "type=bind,\"src=/a,\"\"b\",dst=/b,ro");
    }

    #[test]
    fn values_survive_the_shell() {
        assert_eq!(quoted("it's $(x)"), r"'it'\''s $(x)'");
        assert!(is_shell_name("A_1") && !is_shell_name("1A") && !is_shell_name("a-b") && !is_shell_name(""));
    }
}
