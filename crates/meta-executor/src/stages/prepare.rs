//! `prepare`: the job's directories, its image, and what the later stages must know.

use std::fs;
use std::path::{Path, PathBuf};

use meta_core::config::executor::Network;
use meta_core::executor_settings::ExecutorSettings;

use crate::context::Context;
use crate::directories::make;
use crate::failure::StageFailure;
use crate::image::store::StoredImage;
use crate::image::user;
use crate::job::{Image, Job};
use crate::node::Node;
use crate::pod::spec::Mapping;
use crate::state::{ImageUser, JobState, PreparedImage};
use crate::{directories, hostname, job_variables, log_line, pull, sweep, tools};

/// Prepares the job. Everything that the job log should know is printed.
pub(crate) fn run(context: &Context, job: &Job) -> Result<(), StageFailure> {
    refuse_what_is_not_built(&context.settings)?;
    refuse_services(job)?;
    refuse_missing_mounts(context)?;
    refuse_missing_tools(context)?;
    let node = Node::probe(context)?;
    directories::take(context)?;
    sweep::run(context, node.mapping);
    log_line(&format!(
        "Using Apptainer {} on {}, isolation level {}, network: host",
        node.version,
        context.environment.hostname,
        node.level()
    ));
    if !context.settings.description.is_empty() {
        log_line(&context.settings.description);
    }
    let image = pull::image(context, job, node.mapping)?;
    refuse_shell_less(job, &image)?;
    let prepared = prepared_image(context, job, &job.image, image)?;
    refuse_unmapped(&prepared.user, node.mapping)?;
    let directories = directories::find(context, job, node.shown_paths(context))?;
    directories.make()?;
    for name in ["root", "apptainer", "home"] {
        make(&context.paths.job.join(name), 0o700)?;
    }
    let short_token =
        job.predefined("CI_RUNNER_SHORT_TOKEN").or_else(|| short_token(context)).unwrap_or("none");
    let state = JobState {
        hostname: hostname::of_job(short_token, job.job_info.project_id),
        mapping: node.mapping,
        directories,
        image: prepared,
    };
    write_host_files(context, &state.hostname)?;
    state.save(&context.paths)
}

/// A key that was silently without effect would be found out about in the middle of the night.
fn refuse_what_is_not_built(settings: &ExecutorSettings) -> Result<(), StageFailure> {
    let wanted = [("network = \"own\"", settings.network == Network::Own)];
    match wanted.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((key, _)) => Err(StageFailure::system_with_hint(
            format!("`{key}` in `[executor]` cannot be done by this version"),
            "remove the key and run `gitlab-meta-runner configure` again",
        )),
    }
}

/// Apptainer would say it at the first script, and not on which node.
fn refuse_missing_mounts(context: &Context) -> Result<(), StageFailure> {
    match context.settings.mount.iter().find(|mount| !mount.source.exists()) {
        None => Ok(()),
        Some(mount) => Err(StageFailure::system_with_hint(
            format!(
                "`{}`, which `mount` in `[executor]` names, is not on {}",
                mount.source.display(),
                context.environment.hostname
            ),
            "make it there, or remove it from `mount` and run `gitlab-meta-runner configure` again",
        )),
    }
}

/// Without git there are no sources; without gitlab-runner, its scripts skip caches and artifacts and call that a success.
fn refuse_missing_tools(context: &Context) -> Result<(), StageFailure> {
    let found = [
        ("git", context.environment.find_program("git").is_some()),
        ("gitlab-runner", tools::runner(context).is_some()),
    ];
    match found.into_iter().find(|(_, is_found)| !is_found) {
        None => Ok(()),
        Some((name, _)) => {
            let path = context.environment.variables.get("PATH").map_or("", String::as_str);
            Err(StageFailure::system_with_hint(
                format!("cannot find `{name}` on {} (PATH is `{path}`)", context.environment.hostname),
                "checkout, caches and artifacts need it; put it into PATH in `[launch]` `stdin`, for example by loading its module",
            ))
        }
    }
}

fn refuse_services(job: &Job) -> Result<(), StageFailure> {
    match job.services.first() {
        None => Ok(()),
        Some(service) => Err(StageFailure::job(
            format!("this runner cannot start services yet; the job asks for `{}`", service.name),
            "start the server in `script:`, or use a runner that has services",
        )),
    }
}

/// docker needs `sh` in the image, too; its error does not say so.
fn refuse_shell_less(job: &Job, image: &StoredImage) -> Result<(), StageFailure> {
    let places = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "busybox"];
    // Links of the image lead elsewhere on the host, so a link counts as what it stands for.
    if places.iter().any(|place| image.rootfs.join(place).join("sh").symlink_metadata().is_ok())
        || image.rootfs.join("bin").is_symlink()
    {
        return Ok(());
    }
    Err(StageFailure::job(
        format!("the image \"{}\" has no shell: there is no `sh` in it", job.image.name),
        "use a variant of the image that has one (often tagged `-debug`, `-alpine` or `-slim`)",
    ))
}

fn short_token(context: &Context) -> Option<&str> {
    context.environment.variables.get("CUSTOM_ENV_CI_RUNNER_SHORT_TOKEN").map(String::as_str)
}

/// The image as the job wants to run it.
fn prepared_image(
    context: &Context,
    job: &Job,
    wanted: &Image,
    image: StoredImage,
) -> Result<PreparedImage, StageFailure> {
    let config = image.config.config().as_ref();
    let own_entrypoint = config.and_then(|config| config.entrypoint().clone()).unwrap_or_default();
    let entrypoint = match wanted.entrypoint.as_slice() {
        [] => own_entrypoint,
        // `entrypoint: [""]` is how users switch the image's entrypoint off.
        [empty] if empty.is_empty() => Vec::new(),
        words => words.to_vec(),
    };
    let user = match job_variables::expand(&wanted.docker_options().user, job, &context.environment) {
        user if user.is_empty() => config.and_then(|config| config.user().clone()).unwrap_or_default(),
        user => user,
    };
    let working_dir =
        config.and_then(|config| config.working_dir().clone()).filter(|dir| dir.starts_with('/'));
    Ok(PreparedImage {
        entrypoint,
        env: config.and_then(|config| config.env().clone()).unwrap_or_default(),
        working_dir: PathBuf::from(working_dir.unwrap_or_else(|| "/".to_owned())),
        user: find_user(&user, &image.rootfs)?,
        rootfs: image.rootfs,
    })
}

fn find_user(wanted: &str, rootfs: &Path) -> Result<ImageUser, StageFailure> {
    user::resolve(wanted, rootfs).ok_or_else(|| {
        StageFailure::job(
            format!("the image has no user `{wanted}`"),
            "name a user of the image's /etc/passwd, or a number, in `image: docker: user:`",
        )
    })
}

fn refuse_unmapped(user: &ImageUser, mapping: Mapping) -> Result<(), StageFailure> {
    if mapping.can_become(user.uid, user.gid) {
        return Ok(());
    }
    Err(StageFailure::job(
        format!("this node cannot run the image as user {}:{}: the number is too large", user.uid, user.gid),
        "use a user below 65536, or ask the administrator for a larger range in /etc/subuid and /etc/subgid",
    ))
}

/// `/etc/hosts` and `/etc/hostname` of the job.
#[expect(
    clippy::disallowed_methods,
    reason = "new files in the job's own new directory, readable for the job's users"
)]
fn write_host_files(context: &Context, hostname: &str) -> Result<(), StageFailure> {
    let hosts =
        format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {hostname}\n");
    for (name, text) in [("hosts", hosts), ("hostname", format!("{hostname}\n"))] {
        let path = context.paths.job.join(name);
        fs::write(&path, text).map_err(|error| StageFailure::disk(&path, &error))?;
    }
    Ok(())
}
