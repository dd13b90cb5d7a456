//! `run SCRIPT STAGE`: one script of the job, in its image or with the host's tools.

use std::fs;
use std::path::Path;

use meta_host::files::write_transient;
use nix::sys::signal::Signal;
use nix::unistd::getpid;

use crate::context::Context;
use crate::failure::StageFailure;
use crate::holder::HolderRecord;
use crate::job::Job;
use crate::node::Node;
use crate::pod::driver::{self, Home, Outcome};
use crate::pod::spec::{Mapping, PodSpec};
use crate::pod::stop_signals::StoppedBy;
use crate::services::follow::Follower;
use crate::stage::{Place, place};
use crate::state::JobState;
use crate::{container, helper, layer, owner, ownership, plain, tools};

/// Runs the script. A failing script is a build failure with its exit code in `BUILD_EXIT_CODE_FILE`.
pub(crate) fn run(context: &Context, job: &Job, script: &Path, stage: &str) -> Result<(), StageFailure> {
    forget_exit_code(context)?;
    let state = JobState::load(&context.paths)?;
    let place = place(stage);
    let pod = pod(context, job, &state, place, script)?;
    let running = context.paths.running_file();
    owner::write(&running, &owner::of(getpid().as_raw()))
        .map_err(|error| StageFailure::disk(&running, &error))?;
    if place == Place::Image {
        hand_over(context, job, &state)?;
        layer::begin(&context.paths)?;
    }
    let mut follower = Follower::load(&context.paths);
    let outcome = driver::run_watched(&pod, home(context, &state, place)?, &mut || follower.print_new())
        .map_err(|error| StageFailure::system(&error))?;
    follower.print_new();
    follower.save(&context.paths);
    if place == Place::Image && outcome.stopped.is_none() {
        layer::finish(&context.paths)?;
    }
    judge(context, &state, &pod, outcome)
}

/// Gives the checkout to the image's user, where the job wants that.
fn hand_over(context: &Context, job: &Job, state: &JobState) -> Result<(), StageFailure> {
    let Some(script) = ownership::script(context, job, state) else { return Ok(()) };
    let script = ownership::save(context, &script)?;
    let pod = pod(context, job, state, Place::Helper, &script)?;
    let outcome = driver::run(&pod, state.mapping).map_err(|error| StageFailure::system(&error))?;
    match (outcome.stopped, outcome.code) {
        (Some(by), _) => Err(StageFailure::stopped(by)),
        (None, 0) => Ok(()),
        (None, code) => Err(StageFailure::system_with_hint(
            format!("cannot give the project's directory to the image's user (exit code {code})"),
            "the lines above say why; without `FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR` it is open to every user",
        )),
    }
}

fn pod(
    context: &Context,
    job: &Job,
    state: &JobState,
    place: Place,
    script: &Path,
) -> Result<PodSpec, StageFailure> {
    let container = match (place, &state.helper) {
        (Place::Image, _) => Some(container::of_job(context, job, state, script)),
        (Place::Helper, Some(image)) => Some(helper::container(context, job, state, image, script)),
        (Place::Helper, None) => None,
    };
    let node = || Node::probe(context);
    match (container, state.mapping) {
        (Some(container), Mapping::Unmapped) => plain::pod(context, &node()?, container),
        (Some(container), _) => Ok(container::pod(context, &node()?.apptainer, container)),
        (None, Mapping::Unmapped) => plain::helper(context, job, state, &node()?, script),
        (None, _) => Ok(tools::pod(context, job, state, script)),
    }
}

/// Scripts of the job run in its own network, if it has one. Helper stages use the node's, as they use the node's tools.
fn home(context: &Context, state: &JobState, place: Place) -> Result<Home, StageFailure> {
    let Some(holder) = HolderRecord::load(&context.paths) else { return Ok(Home::Own(state.mapping)) };
    match place {
        Place::Image if !holder.can_be_joined() => Err(StageFailure::system_with_hint(
            "the job's services and its network are gone: the process that keeps them was ended",
            "retry the job; the node may be out of memory",
        )),
        Place::Image if holder.has_network => Ok(Home::Holder(holder.keeper.pid)),
        _ => Ok(Home::Own(state.mapping)),
    }
}

fn judge(context: &Context, state: &JobState, pod: &PodSpec, outcome: Outcome) -> Result<(), StageFailure> {
    match outcome.stopped {
        // gitlab-runner says by itself why it stops a job. Of an after_script that takes too long it wants a code: docker's.
        Some(StoppedBy::Runner) => return script_failure(context, 128 + Signal::SIGTERM as i32),
        Some(by) => return Err(StageFailure::stopped(by)),
        None => {}
    }
    if outcome.no_entrypoint {
        let entrypoint = state.image.entrypoint.first().map_or("", String::as_str);
        return Err(StageFailure::system_with_hint(
            format!("the image has no entrypoint `{entrypoint}` that can be executed"),
            "correct `image: entrypoint:`; `entrypoint: [\"\"]` uses none",
        ));
    }
    if pod.command.entry.is_some() && !outcome.started {
        return Err(StageFailure::system_with_hint(
            "Apptainer could not start the container",
            "the lines above are Apptainer's",
        ));
    }
    match outcome.code {
        0 => Ok(()),
        code => script_failure(context, code),
    }
}

fn script_failure(context: &Context, code: i32) -> Result<(), StageFailure> {
    save_exit_code(context, code)?;
    Err(StageFailure::script())
}

/// A code that an earlier stage left would be reported for this one.
fn forget_exit_code(context: &Context) -> Result<(), StageFailure> {
    let Some(file) = context.environment.variables.get("BUILD_EXIT_CODE_FILE") else { return Ok(()) };
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StageFailure::system_with_hint(format!("cannot remove `{file}`: {error}"), "retry the job"))
        }
        _ => Ok(()),
    }
}

fn save_exit_code(context: &Context, code: i32) -> Result<(), StageFailure> {
    let Some(file) = context.environment.variables.get("BUILD_EXIT_CODE_FILE") else { return Ok(()) };
    write_transient(Path::new(file), code.to_string().as_bytes())
        .map_err(|error| StageFailure::system(&error))
}
