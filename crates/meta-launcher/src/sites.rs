//! How and as whom each instance is launched, and which batch systems its launches go to.

use std::collections::{BTreeMap, BTreeSet};

use meta_core::config::schedulers::SchedulerConfig;
use meta_core::instance::LaunchCommand;
use meta_core::name::InstanceName;
use meta_core::registrations::Registrations;
use sha2::{Digest, Sha256};

use crate::batch;
use crate::facts::{Obstacle, Place, Site};
use crate::failure::LauncherError;
use crate::setup::Setup;
use crate::troubles::Troubles;

/// Every registered instance's site, and the batch systems that they are of.
pub(crate) struct Sites<'a> {
    pub(crate) sites: BTreeMap<InstanceName, Site>,
    pub(crate) systems: Systems<'a>,
}

/// In the order in which [`Place::Queue`] counts them.
#[derive(Default)]
pub(crate) struct Systems<'a>(Vec<System<'a>>);

/// A batch system as its commands reach it: by an instance's variables one description may lead to several clusters.
pub(crate) struct System<'a> {
    pub(crate) description: &'a SchedulerConfig,
    /// With whose variables its commands are made.
    pub(crate) instance: InstanceName,
    /// Those whose launches are there: with each one's variables the commands are the same.
    pub(crate) instances: BTreeSet<InstanceName>,
    commands: Vec<String>,
}

/// An instance whose launch command cannot be made is told, and does not stop the others.
///
/// # Errors
/// There is none for any instance.
pub(crate) fn sites<'a>(
    setup: &'a Setup<'_>,
    registrations: &Registrations,
    troubles: &mut Troubles,
) -> Result<Sites<'a>, LauncherError> {
    let (mut sites, mut systems) = (BTreeMap::new(), Systems::default());
    let mut failures = Vec::new();
    // Without a registration an instance may still have launches in the queue.
    for name in setup.config.instances.keys() {
        let registration = registrations.get(name);
        let site = setup.command(name, "", 1).and_then(|command| {
            let place = systems.place(setup, name, &command)?;
            Ok(registration.map(|registration| site(setup, registration.id, &command, place)))
        });
        match (site, registration) {
            (Ok(site), _) => {
                sites.extend(site.map(|site| (name.clone(), site)));
                troubles.over(&about_command(name));
            }
            (Err(error), Some(registration)) => {
                failures.push((name, error));
                sites.insert(name.clone(), site_without_command(setup, registration.id));
            }
            (Err(_), None) => {}
        }
    }
    if failures.len() == sites.len()
        && let Some((_, error)) = failures.pop()
    {
        return Err(error);
    }
    for (name, error) in failures {
        troubles.failure(&about_command(name), &error);
    }
    Ok(Sites { sites, systems })
}

fn site(setup: &Setup<'_>, runner: u64, command: &LaunchCommand, place: Place) -> Site {
    let makes_arrays = setup.description(&command.scheduler).is_some_and(|scheduler| {
        !scheduler.array_args.is_empty() && !batch::asks_for_array(scheduler, &command.command)
    });
    Site {
        runner,
        place,
        max_array: if makes_arrays { setup.launch.max_array } else { 1 },
        start_grace_s: setup.launch.start_grace_s,
        fingerprint: fingerprint(command),
        obstacle: None,
    }
}

/// Launches from before may be there.
fn site_without_command(setup: &Setup<'_>, runner: u64) -> Site {
    Site {
        runner,
        place: Place::Unclear,
        max_array: 1,
        start_grace_s: setup.launch.start_grace_s,
        fingerprint: String::new(),
        obstacle: Some(Obstacle::NoCommand),
    }
}

impl<'a> Systems<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &System<'a>> {
        self.0.iter()
    }

    /// The batch system of an instance.
    fn place(
        &mut self,
        setup: &'a Setup<'_>,
        name: &InstanceName,
        command: &LaunchCommand,
    ) -> Result<Place, LauncherError> {
        let Some(description) = setup.description(&command.scheduler) else { return Ok(Place::Nowhere) };
        let lists = [&description.query, &description.cancel, &description.history];
        let mut commands = Vec::new();
        for templates in lists {
            commands.extend(setup.expand(name, templates, &[("IDS", "")])?);
        }
        let same = |system: &System<'_>| system.description == description && system.commands == commands;
        let number = self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(System { description, instance: name.clone(), instances: BTreeSet::new(), commands });
            self.0.len() - 1
        });
        self.0[number].instances.insert(name.clone());
        Ok(Place::Queue(number))
    }

    /// Whether the launches of an instance are known to be in one of them.
    pub(crate) fn have(&self, instance: &InstanceName) -> bool {
        self.0.iter().any(|system| system.instances.contains(instance))
    }

    /// What [`Troubles`] calls one of them.
    pub(crate) fn about(&self, system: &System<'_>) -> String {
        match (self.0.len(), system.instances.len()) {
            (2.., 1) => format!("the batch system of `{}`", system.instance),
            (2.., all) => format!("the batch system of `{}` and {} others", system.instance, all - 1),
            _ => "the batch system".to_owned(),
        }
    }
}

/// What [`Troubles`] calls a launch command that cannot be made.
fn about_command(name: &InstanceName) -> String {
    format!("`[launch]` of `{name}`")
}

/// Changes with everything that could make a refused submission succeed.
fn fingerprint(command: &LaunchCommand) -> String {
    let digest = Sha256::digest(format!("{:?} {:?}", command.command, command.scheduler).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
