//! An image as it will be run: its own configuration under what the job asks for.

use std::path::{Path, PathBuf};

use super::store::StoredImage;
use super::{shell, user};
use crate::context::Context;
use crate::failure::StageFailure;
use crate::job::{Image, Job};
use crate::job_variables;
use crate::pod::spec::Mapping;
use crate::state::{ImageUser, PreparedImage};

/// The image as `wanted`, the job's image or a service of it, wants to run it.
pub(crate) fn prepared_image(
    context: &Context,
    job: &Job,
    wanted: &Image,
    image: StoredImage,
    mapping: Mapping,
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
    let volumes = config.and_then(|config| config.volumes().clone()).unwrap_or_default();
    let env = config.and_then(|config| config.env().clone()).unwrap_or_default();
    let user = find_user(&user, &image.rootfs)?;
    refuse_unmapped(&user, mapping)?;
    Ok(PreparedImage {
        entrypoint,
        working_dir: PathBuf::from(working_dir.unwrap_or_else(|| "/".to_owned())),
        volumes: volumes.into_iter().map(PathBuf::from).filter(|volume| volume.is_absolute()).collect(),
        shell: shell::find(&image.rootfs, &env),
        env,
        user,
        rootfs: image.rootfs,
    })
}

fn find_user(wanted: &str, rootfs: &Path) -> Result<ImageUser, StageFailure> {
    user::resolve(wanted, rootfs).ok_or_else(|| {
        StageFailure::job(
            format!("the image has no user `{wanted}`"),
            "name a user of the image's /etc/passwd, or a number, in `docker: user:`",
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
