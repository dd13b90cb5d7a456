//! Which services a job gets and what each of them is called. Pure.

use std::collections::BTreeSet;

use super::name::ServiceName;
use crate::job::Image;
use crate::named_by::NamedBy;

/// A service that will be started.
#[derive(Debug)]
pub(crate) struct PlannedService<'a> {
    /// Counts the services that were asked for, those that are not started included, as docker counts.
    pub(crate) index: usize,
    pub(crate) image: &'a Image,
    pub(crate) named_by: NamedBy,
    pub(crate) name: ServiceName,
    /// Host names that no earlier service has. Never empty.
    pub(crate) host_names: Vec<String>,
}

/// The services in the order of their start, and what the job log must say about them first.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) services: Vec<PlannedService<'a>>,
    pub(crate) warnings: Vec<String>,
}

/// Those of the configuration come first. A host name belongs to the first service that has it; a service that gets none is
/// not started (gitlab-runner: `executors/docker/services.go`, `createFromServiceDefinition`).
pub(crate) fn plan<'a>(configured: &'a [Image], job: &'a [Image]) -> Plan<'a> {
    let wanted = configured
        .iter()
        .map(|image| (image, NamedBy::ConfiguredService))
        .chain(job.iter().map(|image| (image, NamedBy::JobService)));
    let mut taken = BTreeSet::new();
    let mut plan = Plan { services: Vec::new(), warnings: Vec::new() };
    for (index, (image, named_by)) in wanted.enumerate() {
        let name = ServiceName::of_image(&image.name);
        let mut host_names = Vec::new();
        for host_name in name.host_names(&image.alias) {
            if !is_host_name(&host_name) {
                plan.warnings.push(format!(
                    "Skipping alias {host_name:?} for service {:?} (services[{index}]): it is no host name.",
                    image.name
                ));
            } else if taken.insert(host_name.clone()) {
                host_names.push(host_name);
            } else if !host_names.contains(&host_name) {
                plan.warnings.push(format!(
                    "Skipping alias {host_name:?} for service {:?} (services[{index}]): alias is already in use by another service.",
                    image.name
                ));
            }
        }
        if !host_names.is_empty() {
            plan.services.push(PlannedService { index, image, named_by, name, host_names });
        }
    }
    plan
}

/// What can stand in a hosts file: anything else would end the entry or begin another one.
fn is_host_name(name: &str) -> bool {
    name.len() <= 255 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, alias: &str) -> Image {
        Image { name: name.to_owned(), alias: alias.to_owned(), ..Image::default() }
    }

    fn check(configured: &[Image], job: &[Image], services: &str, warnings: &[&str]) {
        let plan = plan(configured, job);
        let found: Vec<String> = plan
            .services
            .iter()
            .map(|service| {
                format!("{} {:?} {}", service.index, service.named_by, service.host_names.join("+"))
            })
            .collect();
        assert_eq!((found.join(", ").as_str(), plan.warnings), (services, own(warnings)));
    }

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn configured_services_come_first() {
        check(&[image("a", "")], &[image("b", "")], "0 ConfiguredService a, 1 JobService b", &[]);
    }

    #[test]
    fn a_second_one_of_an_image_keeps_what_is_its_own() {
        check(
            &[],
            &[image("redis:7", "one"), image("redis:7", "two two")],
            "0 JobService redis+one, 1 JobService two",
            &[
                "Skipping alias \"redis\" for service \"redis:7\" (services[1]): alias is already in use by another service.",
            ],
        );
    }

    #[test]
    fn a_service_without_a_name_of_its_own_is_not_started() {
        check(
            &[],
            &[image("redis:7", ""), image("redis:6", ""), image("nginx", "")],
            "0 JobService redis, 2 JobService nginx",
            &[
                "Skipping alias \"redis\" for service \"redis:6\" (services[1]): alias is already in use by another service.",
            ],
        );
    }

    #[test]
    fn what_is_no_host_name_stays_out_of_the_hosts_file() {
        check(
            &[],
            &[image("redis", "ok a#b")],
            "0 JobService redis+ok",
            &["Skipping alias \"a#b\" for service \"redis\" (services[0]): it is no host name."],
        );
    }
}
