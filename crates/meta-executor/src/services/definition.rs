//! What a service is: its image, and what image and job together say of how it runs.

use std::collections::BTreeMap;

use super::plan::PlannedService;
use super::start::Surroundings;
use super::{environment, only_user, ports};
use crate::entry::{DEFAULT_PATH, image_variables};
use crate::failure::StageFailure;
use crate::image::prepared;
use crate::image::store::StoredImage;
use crate::pod::spec::Mapping;
use crate::pull;
use crate::state::PreparedImage;

pub(super) struct Definition {
    pub(super) image: PreparedImage,
    /// All but `HOSTNAME`.
    pub(super) environment: BTreeMap<String, String>,
    /// Where it will listen; empty if nobody knows.
    pub(super) ports: Vec<u16>,
    /// What follows the entrypoint. One of the two is there.
    pub(super) words: Vec<String>,
}

/// Pulls the image of `service`, and says how it is to be run.
pub(super) fn define(
    surroundings: &Surroundings<'_>,
    service: &PlannedService<'_>,
) -> Result<Definition, StageFailure> {
    let Surroundings { context, job, node, .. } = surroundings;
    refuse_empty_name(service)?;
    let stored = pull::service(context, job, service, node.mapping)?;
    let mut environment = image_environment(&stored);
    environment.extend(environment::environment(job, service.image, &context.environment.variables));
    let ports = exposed_ports(service, &stored, &environment)?;
    let words = command(service, &stored);
    let volumes = stored.config.config().as_ref().and_then(|config| config.volumes().clone());
    let mut image = prepared::prepared_image(context, job, service.image, stored, node.mapping)?;
    if node.mapping == Mapping::RootOnly {
        only_user::choose(service, &mut image, &volumes.unwrap_or_default());
    }
    refuse_nothing_to_run(service, &image, &words)?;
    environment.entry("HOME".to_owned()).or_insert_with(|| image.user.home.clone());
    Ok(Definition { image, environment, ports, words })
}

fn refuse_empty_name(service: &PlannedService<'_>) -> Result<(), StageFailure> {
    if !service.image.name.is_empty() {
        return Ok(());
    }
    Err(StageFailure::job(
        "invalid service image name: it is empty",
        format!("correct {}; a variable in a name may be unset", service.named_by.place()),
    ))
}

fn refuse_nothing_to_run(
    service: &PlannedService<'_>,
    image: &PreparedImage,
    words: &[String],
) -> Result<(), StageFailure> {
    if !image.entrypoint.is_empty() || !words.is_empty() {
        return Ok(());
    }
    Err(StageFailure::job(
        format!("the service \"{}\" has neither entrypoint nor command", service.image.name),
        format!("give it a `command` in {}", service.named_by.place()),
    ))
}

fn image_environment(image: &StoredImage) -> BTreeMap<String, String> {
    let env = image.config.config().as_ref().and_then(|config| config.env().clone()).unwrap_or_default();
    let mut environment = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    environment.extend(image_variables(&env));
    environment
}

fn exposed_ports(
    service: &PlannedService<'_>,
    image: &StoredImage,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<u16>, StageFailure> {
    let exposed = image.config.config().as_ref().and_then(|config| config.exposed_ports().clone());
    ports::ports(environment, exposed.as_deref()).map_err(|value| {
        StageFailure::job(
            format!("invalid health check tcp port of service \"{}\": {value}", service.image.name),
            format!(
                "write a number into its variable `HEALTHCHECK_TCP_PORT`, in {} or in the image",
                service.named_by.place()
            ),
        )
    })
}

/// An entrypoint of the job's takes the image's command away, as in docker.
fn command(service: &PlannedService<'_>, image: &StoredImage) -> Vec<String> {
    if !service.image.command.is_empty() || !service.image.entrypoint.is_empty() {
        return service.image.command.clone();
    }
    image.config.config().as_ref().and_then(|config| config.cmd().clone()).unwrap_or_default()
}
