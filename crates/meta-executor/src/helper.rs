//! Helper stages in an image (`helper = "image"`), as docker has them: git and gitlab-runner come from there.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::container::{Container, find_shell_words};
use crate::context::Context;
use crate::directories::make;
use crate::entry;
use crate::failure::StageFailure;
use crate::image::prepared::prepared_image;
use crate::job::{Image, Job};
use crate::ownership;
use crate::pod::spec::{Bind, Mapping};
use crate::pull;
use crate::state::{JobState, PreparedImage};
use crate::tools::RUNNER_DIRECTORY;

/// GitLab's own helper images have the program under this name only; scripts for a custom executor call `gitlab-runner`.
const WRAPPER: &str = "#!/bin/sh\nexec gitlab-runner-helper \"$@\"\n";

/// Pulls the helper image, and looks whether it can do its work.
pub(crate) fn prepare(
    context: &Context,
    job: &Job,
    name: &str,
    mapping: Mapping,
) -> Result<PreparedImage, StageFailure> {
    let image = pull::helper(context, job, name, mapping)?;
    let has = |program: &str| has_program(&image.rootfs, program);
    if !has("git") || !(has("gitlab-runner") || has("gitlab-runner-helper")) {
        return Err(StageFailure::system_with_hint(
            format!("the helper image \"{name}\" has no git, or no gitlab-runner or gitlab-runner-helper"),
            "set `helper_image` in `[executor]` to an image with both, such as GitLab's gitlab-runner-helper",
        ));
    }
    write_wrapper(&wrapper_directory(context))?;
    // docker gives it a command of its own, too, and its entrypoint would only look for certificates.
    let prepared = prepared_image(context, job, &Image::default(), image, mapping)?;
    Ok(PreparedImage { entrypoint: Vec::new(), ..prepared })
}

/// The container that runs the helper script `script`.
pub(crate) fn container<'a>(
    context: &Context,
    job: &Job,
    state: &'a JobState,
    image: &'a PreparedImage,
    script: &Path,
) -> Container<'a> {
    let mut environment = entry::job_environment(context, job, &state.hostname, image);
    if let Some(path) = environment.get_mut("PATH") {
        // Last: a gitlab-runner of the image's own is the right one.
        path.push(':');
        path.push_str(RUNNER_DIRECTORY);
    }
    Container {
        image,
        mapping: state.mapping,
        hostname: &state.hostname,
        // Kept between the stages, as docker keeps its helper container.
        layer: context.paths.overlay.join("helper"),
        files: context.paths.job.clone(),
        directories: &state.directories,
        environment,
        sees_gpus: false,
        umask: ownership::helper_umask(context, job),
        more_binds: vec![Bind {
            source: wrapper_directory(context),
            target: PathBuf::from(RUNNER_DIRECTORY),
            read_only: true,
        }],
        words: find_shell_words().to_vec(),
        stdin: Some(script.to_owned()),
    }
}

fn wrapper_directory(context: &Context) -> PathBuf {
    context.paths.job.join("helper-bin")
}

fn write_wrapper(directory: &Path) -> Result<(), StageFailure> {
    make(directory, 0o755)?;
    let path = directory.join("gitlab-runner");
    File::create(&path)
        .and_then(|mut file| file.write_all(WRAPPER.as_bytes()))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| StageFailure::disk(&path, &error))
}

/// Links of the image lead elsewhere on the host, so a link counts as what it stands for.
fn has_program(rootfs: &Path, name: &str) -> bool {
    let places = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];
    places.iter().any(|place| rootfs.join(place).join(name).symlink_metadata().is_ok())
}
