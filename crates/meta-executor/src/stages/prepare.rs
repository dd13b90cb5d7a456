//! `prepare`: the job's directories, its image, and what the later stages must know.

use std::net::Ipv4Addr;

use crate::context::Context;
use crate::directories::{make, write_for_all};
use crate::failure::StageFailure;
use crate::holder::Holder;
use crate::holder::open::{self, Opened};
use crate::image::prepared;
use crate::job::Job;
use crate::network::hosts::{self, Entry};
use crate::node::Node;
use crate::pod::stop_signals::StopSignals;
use crate::pull::ImageName;
use crate::services::follow::Follower;
use crate::services::plan::{Plan, plan};
use crate::services::start::{self, Surroundings};
use crate::services::{self, ready};
use crate::state::{JobState, PreparedImage};
use crate::{directories, helper, hostname, log_line, ownership, pull, sweep, tools};

/// Prepares the job. Everything that the job log should know is printed.
pub(crate) fn run(context: &Context, mut job: Job) -> Result<(), StageFailure> {
    if context.settings.disable_entrypoint_overwrite {
        drop_entrypoints(&mut job);
    }
    let job = &job;
    let configured = services::configured(&context.settings.services);
    let plan = plan(&configured, &job.services);
    refuse_too_many(&plan, context.settings.services_limit)?;
    refuse_missing_mounts(context)?;
    if context.settings.helper_image.is_none() {
        refuse_missing_tools(context)?;
    }
    let node = Node::probe(context)?;
    directories::take(context)?;
    sweep::run(context, node.mapping);
    let directories = directories::find(context, job, node.shown_paths(context))?;
    directories.make()?;
    for name in ["root", "apptainer", "home"] {
        make(&context.paths.job.join(name), 0o700)?;
    }
    let short_token =
        job.predefined("CI_RUNNER_SHORT_TOKEN").or_else(|| short_token(context)).unwrap_or("none");
    let hostname = hostname::of_job(short_token, job.job_info.project_id);
    let Opened { mut holder, network } =
        open::open(context, job, &node, &hostname, !plan.services.is_empty())?;
    log_line(&format!(
        "Using Apptainer {} on {}, isolation level {}, network: {network}",
        node.version,
        context.environment.hostname,
        node.level()
    ));
    ownership::announce(context, job);
    if !context.settings.description.is_empty() {
        log_line(&context.settings.description);
    }
    let helper_image = context.settings.helper_image.as_ref();
    let helper = helper_image.map(|name| helper::prepare(context, job, name, node.mapping)).transpose()?;
    // Before the services, which may take their time.
    let name = pull::image_name(context, job)?;
    let mut hosts = Vec::new();
    if let Some(holder) = &mut holder {
        let surroundings =
            Surroundings { context, job, node: &node, hostname: &hostname, directories: &directories };
        start_services(&surroundings, &plan, holder)?;
        hosts = start::host_entries(&plan, holder.own_addresses);
    }
    let image = pull::image(context, job, &name, node.mapping)?;
    let image = prepared::prepared_image(context, job, &job.image, image, node.mapping)?;
    refuse_shell_less(&name, &image)?;
    write_host_files(context, &hostname, &hosts)?;
    JobState { hostname, mapping: node.mapping, directories, image, helper }.save(&context.paths)?;
    holder.map_or(Ok(()), |holder| holder.stay().map_err(|error| StageFailure::system(&error)))
}

/// With docker's warning for each.
fn drop_entrypoints(job: &mut Job) {
    let overridden = std::iter::once(&mut job.image).chain(&mut job.services);
    for image in overridden.filter(|image| !image.entrypoint.is_empty()) {
        log_line("WARNING: Entrypoint override disabled");
        image.entrypoint.clear();
    }
}

fn refuse_too_many(plan: &Plan<'_>, limit: Option<usize>) -> Result<(), StageFailure> {
    let wanted = plan.services.len();
    match limit {
        Some(limit) if wanted > limit => Err(StageFailure::job(
            format!("too many services requested: {wanted}, only {limit} allowed"),
            "remove services from the job, or ask the administrator to change `services_limit` in `[executor]`",
        )),
        _ => Ok(()),
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

/// Starts the services and waits for them.
fn start_services(
    surroundings: &Surroundings<'_>,
    plan: &Plan<'_>,
    holder: &mut Holder,
) -> Result<(), StageFailure> {
    let context = surroundings.context;
    let started = start::start(surroundings, plan, holder)?;
    let mut follower = Follower::new(surroundings.job, &started);
    let signals = StopSignals::hold().map_err(|error| StageFailure::system(&error))?;
    ready::wait(&started, holder, context.settings.wait_for_services, &signals, &mut follower)?;
    follower.save(&context.paths);
    Ok(())
}

/// docker needs `sh` in the image, too; its error does not say so.
fn refuse_shell_less(name: &ImageName, image: &PreparedImage) -> Result<(), StageFailure> {
    if image.shell.is_some() {
        return Ok(());
    }
    Err(StageFailure::job(
        format!("the image \"{}\" has no shell: there is no `sh` in it", name.text),
        format!(
            "name a variant of the image that has one (often tagged `-debug`, `-alpine` or `-slim`) in {}",
            name.named_by.place()
        ),
    ))
}

fn short_token(context: &Context) -> Option<&str> {
    context.environment.variables.get("CUSTOM_ENV_CI_RUNNER_SHORT_TOKEN").map(String::as_str)
}

/// `/etc/hosts` and `/etc/hostname` of the job.
fn write_host_files(context: &Context, hostname: &str, services: &[Entry]) -> Result<(), StageFailure> {
    // As Debian does it: a name of its own that no other address has.
    let hosts = hosts::hosts(hostname, Ipv4Addr::new(127, 0, 1, 1), services);
    for (name, text) in [("hosts", hosts), ("hostname", format!("{hostname}\n"))] {
        write_for_all(&context.paths.job.join(name), &text)?;
    }
    Ok(())
}
