//! From an image name to an unpacked image, by the pull policies, with docker's log lines.

mod allowed;
mod attempts;
mod logins;

use std::fs;

use crate::context::Context;
use crate::failure::StageFailure;
use crate::image::platform::Platform;
use crate::image::policy;
use crate::image::reference::Reference;
use crate::image::registry::RegistrySettings;
use crate::image::store::{Store, StoredImage};
use crate::job::{Image, Job};
use crate::job_variables::expand;
use crate::log_line;
use crate::named_by::NamedBy;
use crate::pod::spec::Mapping;
use crate::services::plan::PlannedService;

pub(crate) use self::allowed::image_name;
use self::attempts::Request;

/// The name of an image, complete or not.
#[derive(Debug)]
pub(crate) struct ImageName {
    pub(crate) text: String,
    pub(crate) named_by: NamedBy,
}

/// The job's image, pulled if its policy says so.
pub(crate) fn image(
    context: &Context,
    job: &Job,
    name: &ImageName,
    mapping: Mapping,
) -> Result<StoredImage, StageFailure> {
    named(context, job, &job.image, name, mapping)
}

/// The image of helper stages. The name is the administrator's, and like docker's it may have job variables in it.
pub(crate) fn helper(
    context: &Context,
    job: &Job,
    name: &str,
    mapping: Mapping,
) -> Result<StoredImage, StageFailure> {
    let name = ImageName { text: expand(name, job, &context.environment), named_by: NamedBy::HelperImage };
    named(context, job, &Image::default(), &name, mapping)
}

/// The image of a service, pulled if its policy says so.
pub(crate) fn service(
    context: &Context,
    job: &Job,
    service: &PlannedService<'_>,
    mapping: Mapping,
) -> Result<StoredImage, StageFailure> {
    allowed::check_service(context, service)?;
    let name = ImageName { text: service.image.name.clone(), named_by: service.named_by };
    named(context, job, service.image, &name, mapping)
}

/// The image `name`, pulled as `wanted` (the job's image or a service of it) and the configuration say.
fn named(
    context: &Context,
    job: &Job,
    wanted: &Image,
    name: &ImageName,
    mapping: Mapping,
) -> Result<StoredImage, StageFailure> {
    let ImageName { text: name, named_by } = name;
    let reference = Reference::parse(name).map_err(|error| {
        StageFailure::job(error.to_string(), format!("correct the name in {}", named_by.place()))
    })?;
    let settings = &context.settings;
    let policies = policy::effective(
        name,
        &wanted.pull_policy,
        &settings.pull_policy,
        &settings.allowed_pull_policies,
    )
    .map_err(|text| {
        let hint = match wanted.pull_policy.as_slice() {
            [] => "`pull_policy` and `allowed_pull_policies` in `[executor]` exclude each other: tell the administrator",
            _ => "use one of these in `pull_policy:` of the job's image, or ask the administrator",
        };
        StageFailure::job(text, hint)
    })?;
    log_line(&format!("Using effective pull policy of [{}] for container {name}", policy::join(&policies)));
    let wanted_platform = expand(&wanted.docker_options().platform, job, &context.environment);
    let credentials = logins::collect(context, job);
    for warning in &credentials.warnings {
        log_line(&format!("WARNING: {warning}"));
    }
    let request = Request {
        name,
        named_by: *named_by,
        reference: &reference,
        platform: platform(&wanted_platform)?,
        wanted_platform: (!wanted_platform.is_empty()).then_some(wanted_platform),
        project: job.project(),
        store: Store::new(context, mapping),
        credentials,
        registry: registry_settings(context)?,
    };
    request.try_policies(&policies)
}

fn platform(wanted: &str) -> Result<Platform, StageFailure> {
    if wanted.is_empty() {
        return Ok(Platform::native());
    }
    Platform::parse(wanted).ok_or_else(|| {
        StageFailure::job(
            format!("\"{wanted}\": unknown operating system or architecture: invalid argument"),
            "write an architecture (`arm64`) or `linux/` and an architecture in `image: docker: platform:`",
        )
    })
}

fn registry_settings(context: &Context) -> Result<RegistrySettings, StageFailure> {
    let settings = &context.settings;
    let ca = match &settings.registry_ca_file {
        None => None,
        Some(path) => Some(fs::read_to_string(path).map_err(|error| {
            StageFailure::system_with_hint(
                format!("cannot read `{}`: {error}", path.display()),
                "correct `registry_ca_file` in `[executor]`",
            )
        })?),
    };
    Ok(RegistrySettings { insecure: settings.insecure_registries.clone(), ca })
}
