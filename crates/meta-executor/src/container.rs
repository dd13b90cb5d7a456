//! The command that runs a script in the job's image: Apptainer's arguments and the shell text around the job's own shell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use meta_core::executor_settings::ExecutorSettings;

use crate::context::Context;
use crate::directories::Directories;
use crate::entry::{self, DEFAULT_PATH};
use crate::gpu;
use crate::job::Job;
use crate::pod::init::ENTRY_FD;
use crate::pod::kept_container::keeping_text;
use crate::pod::spec::{Bind, ContainerProcess, ImageRoot, Mapping, PodCommand, PodSpec, RootSpec};
use crate::state::{ImageUser, JobState, PreparedImage};

/// What docker's root may not do, of the capabilities that Linux has (capabilities(7)): all but the set `0xa80425fb`.
const DROPPED: &str = "CAP_DAC_READ_SEARCH,CAP_LINUX_IMMUTABLE,CAP_NET_BROADCAST,CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_IPC_OWNER,\
    CAP_SYS_MODULE,CAP_SYS_RAWIO,CAP_SYS_PTRACE,CAP_SYS_PACCT,CAP_SYS_ADMIN,CAP_SYS_BOOT,CAP_SYS_NICE,CAP_SYS_RESOURCE,\
    CAP_SYS_TIME,CAP_SYS_TTY_CONFIG,CAP_LEASE,CAP_AUDIT_CONTROL,CAP_MAC_OVERRIDE,CAP_MAC_ADMIN,CAP_SYSLOG,CAP_WAKE_ALARM,\
    CAP_BLOCK_SUSPEND,CAP_AUDIT_READ,CAP_PERFMON,CAP_BPF,CAP_CHECKPOINT_RESTORE";

/// Finds the shell as gitlab-runner does in docker, and gives it the script that is on stdin.
const FIND_SHELL: &str = "for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do \
    if [ -x \"$shell\" ]; then exec \"$shell\"; fi; done; echo 'shell not found'; exit 1";

/// A container: the job's, its helper's, or one of a service.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub(crate) image: &'a PreparedImage,
    pub(crate) mapping: Mapping,
    pub(crate) hostname: &'a str,
    /// Its writable layer and mount points.
    pub(crate) layer: PathBuf,
    /// Holds its `hosts`, `hostname` and, where the host's is not right, `resolv.conf`.
    pub(crate) files: PathBuf,
    pub(crate) directories: &'a Directories,
    pub(crate) environment: BTreeMap<String, String>,
    /// docker gives its services none.
    pub(crate) sees_gpus: bool,
    pub(crate) umask: u32,
    /// What it sees beside the job's directories and the `mount` list.
    pub(crate) more_binds: Vec<Bind>,
    /// What follows the entrypoint.
    pub(crate) words: Vec<String>,
    pub(crate) stdin: Option<PathBuf>,
}

/// The container that runs `script` in the job's image.
pub(crate) fn of_job<'a>(context: &Context, job: &Job, state: &'a JobState, script: &Path) -> Container<'a> {
    let mut environment = entry::job_environment(context, job, &state.hostname, &state.image);
    if gpu::are_wanted(&context.settings) {
        let path = gpu::library_path(environment.get("LD_LIBRARY_PATH").map(String::as_str));
        environment.insert("LD_LIBRARY_PATH".to_owned(), path);
    }
    Container {
        image: &state.image,
        mapping: state.mapping,
        hostname: &state.hostname,
        layer: context.paths.overlay.clone(),
        files: context.paths.job.clone(),
        directories: &state.directories,
        environment,
        sees_gpus: true,
        umask: 0o022,
        more_binds: Vec::new(),
        words: find_shell_words().to_vec(),
        stdin: Some(script.to_owned()),
    }
}

/// The pod that runs `container`.
pub(crate) fn pod(context: &Context, apptainer: &Path, container: Container<'_>) -> PodSpec {
    let root = ImageRoot {
        lower: container.image.rootfs.clone(),
        layer: container.layer.clone(),
        shm_size: context.settings.shm_size,
        devices: if container.sees_gpus {
            gpu::devices(&context.settings, Path::new("/dev"))
        } else {
            Vec::new()
        },
        directories: mount_points(context, &container),
        files: file_mount_points(context, &container),
        hidden_programs: hidden_programs(apptainer, &search_path(context)),
    };
    let process = container.process();
    let args = apptainer_args(context, &container, process.as_ref(), &root);
    let mut env = apptainer_environment(context);
    let has_shell = container.image.shell.is_some();
    // Without, the container's environment has some of Apptainer's variables.
    if !has_shell {
        env.extend(
            container.environment.iter().map(|(name, value)| (format!("APPTAINERENV_{name}"), value.clone())),
        );
    }
    PodSpec {
        hostname: container.hostname.to_owned(),
        umask: container.umask,
        root: RootSpec::Image(root),
        command: PodCommand {
            program: apptainer.to_owned(),
            args,
            env,
            cwd: "/".into(),
            stdin: container.stdin,
            output_owner: container.image.user.uid,
            entry: has_shell.then(|| entry::text(&container.environment)),
            inside: process,
        },
    }
}

/// Where `squashfuse_ll` is. Apptainer runs it three times to read its help, for images that are files; ours are directories.
/// It looks beside itself, then where the configuration says (`binary path`: PATH and the system's directories, by default).
fn hidden_programs(apptainer: &Path, search_path: &str) -> Vec<PathBuf> {
    let own = apptainer.canonicalize().map(|program| program.with_file_name("../libexec/apptainer/bin"));
    let directories =
        own.into_iter().chain(std::env::split_paths(search_path)).chain(std::env::split_paths(DEFAULT_PATH));
    let programs: BTreeSet<PathBuf> =
        directories.filter_map(|directory| directory.join("squashfuse_ll").canonicalize().ok()).collect();
    programs.into_iter().collect()
}

fn mount_points(context: &Context, container: &Container<'_>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> =
        ["/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/etc"].map(Into::into).to_vec();
    let job = container.directories;
    directories
        .extend([&job.builds_inside, &job.cache_inside, &container.image.working_dir].map(Clone::clone));
    directories.extend(container.image.volumes.iter().cloned());
    directories.extend(container.more_binds.iter().map(|bind| bind.target.clone()));
    if container.sees_gpus && gpu::are_wanted(&context.settings) {
        directories.push(gpu::LIBRARIES.into());
    }
    directories.extend(
        context.settings.mount.iter().filter(|mount| mount.source.is_dir()).map(|mount| mount.target.clone()),
    );
    directories
}

fn file_mount_points(context: &Context, container: &Container<'_>) -> Vec<PathBuf> {
    let mounts = context.settings.mount.iter().filter(|mount| !mount.source.is_dir());
    let own = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"].map(PathBuf::from);
    let mut files: Vec<PathBuf> = own.into_iter().chain(mounts.map(|mount| mount.target.clone())).collect();
    if container.sees_gpus {
        let has = |program: &str| context.environment.find_program(program).is_some();
        files.extend(gpu::programs(&context.settings, has));
    }
    files
}

/// Apptainer's own environment. Every `APPTAINER_*` variable is a flag to it, so nothing of the job may be here.
pub(crate) fn apptainer_environment(context: &Context) -> Vec<(String, String)> {
    let own = context.paths.job.join("apptainer").display().to_string();
    vec![
        ("PATH".to_owned(), search_path(context)),
        // A Go program that has done its work long before there is garbage worth collecting.
        ("GOGC".to_owned(), "off".to_owned()),
        ("GOMEMLIMIT".to_owned(), "64MiB".to_owned()),
        ("HOME".to_owned(), own.clone()),
        ("TMPDIR".to_owned(), own.clone()),
        ("APPTAINER_CONFIGDIR".to_owned(), own.clone()),
        ("APPTAINER_CACHEDIR".to_owned(), own),
    ]
}

fn search_path(context: &Context) -> String {
    context.environment.variables.get("PATH").cloned().unwrap_or_else(|| DEFAULT_PATH.to_owned())
}

/// The words of Apptainer that make the container. `process` is what we start there, if Apptainer does not.
fn apptainer_args(
    context: &Context,
    container: &Container<'_>,
    process: Option<&ContainerProcess>,
    root: &ImageRoot,
) -> Vec<String> {
    let settings = &context.settings;
    // `-s` leaves only FATAL lines: a warning per stage about a uid without a passwd entry of the host helps nobody.
    let mut args: Vec<String> = ["-s", "exec", "--contain", "--cleanenv", "--no-eval", "--writable"]
        .into_iter()
        .chain(["--no-mount", "home,cwd,hostfs,bind-paths,tmp,dev,devpts", "--drop-caps", DROPPED])
        .map(str::to_owned)
        .collect();
    if container.sees_gpus {
        args.extend(gpu::flags(settings));
    }
    let user = &container.image.user;
    if process.is_none() && (user.uid, user.gid) != (0, 0) {
        let groups: Vec<String> = groups(user, container.mapping).iter().map(u32::to_string).collect();
        // Where only root is mapped, Apptainer shows root under the wanted ids in a user namespace of its own.
        args.extend((container.mapping == Mapping::RootOnly).then(|| "--userns".to_owned()));
        args.extend([
            "--security".to_owned(),
            format!("uid:{}", user.uid),
            "--security".to_owned(),
            format!("gid:{}", groups.join(":")),
        ]);
    }
    let cwd = if process.is_some() { Path::new("/") } else { &container.image.working_dir };
    args.extend(["--cwd".to_owned(), cwd.display().to_string()]);
    for bind in binds(context, container, root) {
        args.extend(["--mount".to_owned(), mount_argument(&bind)]);
    }
    args.push(root.merged().display().to_string());
    args.extend(match (process, &container.image.shell) {
        (Some(_), Some(shell)) => vec![shell.display().to_string(), "-c".to_owned(), keeping_text()],
        _ => container.command(),
    });
    args
}

impl Container<'_> {
    /// What we start in it ourselves: where its users are the image's, and `sudo` makes sense. That a shell of the image can
    /// keep the container for us is a condition.
    fn process(&self) -> Option<ContainerProcess> {
        let Mapping::Subordinate(_) = self.mapping else { return None };
        self.image.shell.as_ref()?;
        let user = &self.image.user;
        Some(ContainerProcess {
            words: self.command(),
            uid: user.uid,
            gid: user.gid,
            groups: groups(user, self.mapping),
            cwd: self.image.working_dir.clone(),
        })
    }

    /// The first shell, the entrypoint and what follows it.
    pub(crate) fn command(&self) -> Vec<String> {
        let mut words = first_shell(self.image);
        words.extend(self.image.entrypoint.iter().chain(&self.words).cloned());
        words
    }
}

/// The shell that reads the text of `entry`, before what docker starts. Apptainer would look for it on a PATH of its own.
fn first_shell(image: &PreparedImage) -> Vec<String> {
    let words = |shell: &PathBuf| {
        [shell.display().to_string(), "-c".into(), format!(". /proc/self/fd/{ENTRY_FD}"), "sh".into()]
            .to_vec()
    };
    image.shell.as_ref().map(words).unwrap_or_default()
}

/// What docker gives to the entrypoint: a shell that finds the job's shell.
pub(crate) fn find_shell_words() -> [String; 3] {
    ["sh", "-c", FIND_SHELL].map(str::to_owned)
}

/// The group of the process, then those that its user is a member of. Only with subordinate ids there are others to have
/// (user_namespaces(7)); one beyond their range is left out.
fn groups(user: &ImageUser, mapping: Mapping) -> Vec<u32> {
    let is_there = |group: &u32| matches!(mapping, Mapping::Subordinate(_)) && mapping.can_become(0, *group);
    std::iter::once(user.gid).chain(user.groups.iter().copied().filter(is_there)).collect()
}

fn binds(context: &Context, container: &Container<'_>, root: &ImageRoot) -> Vec<Bind> {
    let bind = |source: &Path, target: &Path| Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: false,
    };
    let job = container.directories;
    let mut binds = vec![
        bind(&job.builds, &job.builds_inside),
        bind(&job.cache, &job.cache_inside),
        bind(&root.dev(), Path::new("/dev")),
        bind(&container.files.join("hosts"), Path::new("/etc/hosts")),
        bind(&container.files.join("hostname"), Path::new("/etc/hostname")),
    ];
    let resolv_conf = container.files.join("resolv.conf");
    if resolv_conf.exists() {
        binds.push(bind(&resolv_conf, Path::new("/etc/resolv.conf")));
    }
    binds.extend(container.more_binds.iter().cloned());
    binds.extend(configured_binds(&context.settings));
    binds
}

/// The `mount` list of the configuration.
pub(crate) fn configured_binds(settings: &ExecutorSettings) -> impl Iterator<Item = Bind> {
    settings.mount.iter().map(|mount| Bind {
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
    })
}

/// `--mount` takes one CSV record: a field with a comma or a quote is quoted as a whole.
pub(crate) fn mount_argument(bind: &Bind) -> String {
    let field = |name: &str, path: &Path| {
        let field = format!("{name}={}", path.display());
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    };
    let read_only = if bind.read_only { ",ro" } else { "" };
    format!("type=bind,{},{}{read_only}", field("src", &bind.source), field("dst", &bind.target))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_apptainer_would_only_ask_for_help_is_found_where_it_looks() {
        let tree = tempfile::tempdir().unwrap();
        let of = |directory: &str| tree.path().canonicalize().unwrap().join(directory).join("squashfuse_ll");
        for directory in ["bin", "libexec/apptainer/bin", "tools"] {
            fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        for file in [tree.path().join("bin/apptainer"), of("libexec/apptainer/bin"), of("tools")] {
            fs::File::create(file).unwrap();
        }
        symlink("tools", tree.path().join("same")).unwrap();
        let path = format!("{0}/same:{0}/tools:/nonexistent", tree.path().display());
        let found = hidden_programs(&tree.path().join("bin/apptainer"), &path);
        let found: Vec<_> = found.into_iter().filter(|program| program.starts_with(tree.path())).collect();
        assert_eq!(found, [of("libexec/apptainer/bin"), of("tools")]);
    }

    #[test]
    fn odd_paths_survive_the_mount_flag() {
        let bind = |source: &str, read_only| Bind { source: source.into(), target: "/b".into(), read_only };
        assert_eq!(mount_argument(&bind("/a", false)), "type=bind,src=/a,dst=/b");
        assert_eq!(mount_argument(&bind("/a,\"b", true)), "type=bind,\"src=/a,\"\"b\",dst=/b,ro");
    }
}
