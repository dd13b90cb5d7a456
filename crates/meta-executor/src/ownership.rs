//! `FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR`: what is checked out is not open to everybody, but belongs to the image's user
//! (gitlab-runner: `executors/docker/docker_command.go`, `changeFilesOwnership`).

use meta_core::command_line::quoted;
use meta_host::files::write_transient;

use crate::context::Context;
use crate::failure::StageFailure;
use crate::job::Job;
use crate::job_variables::{is_true, value};
use crate::log_line;
use crate::pod::spec::Mapping;
use crate::state::JobState;

const FLAG: &str = "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR";

/// In the job's directory: the script that changed the owners, when that is done.
const SCRIPT: &str = "ownership.sh";

/// The umask of helper stages. docker's helper has none, so that whatever user the image has may write.
pub(crate) fn helper_umask(context: &Context, job: &Job) -> u32 {
    if is_set(context, job) { 0o022 } else { 0 }
}

/// Says so in the job log, as docker's executor does.
pub(crate) fn announce(context: &Context, job: &Job) {
    if is_set(context, job) {
        log_line(&format!("Not using umask - {FLAG} is set!"));
    }
}

/// The script of a helper stage that gives the project's directories to the image's user. `None`: they are that user's, or
/// everybody's. Only level A has other owners.
pub(crate) fn script(context: &Context, job: &Job, state: &JobState) -> Option<String> {
    let user = &state.image.user;
    let has_owners = matches!(state.mapping, Mapping::Subordinate(_));
    if !has_owners || user.uid == 0 || !is_set(context, job) || context.paths.job.join(SCRIPT).exists() {
        return None;
    }
    // The job may have forged them, but in a helper stage it only reaches what is its own.
    let directories = ["CI_PROJECT_DIR", "RUNNER_TEMP_PROJECT_DIR"];
    let directories = directories.iter().filter_map(|name| value(name, job, &context.environment));
    let owner = format!("{}:{}", user.uid, user.gid);
    let lines = directories.map(|directory| {
        let text = format!("Changing ownership of files at \"{directory}\" to {owner}");
        let (announcement, directory) = (quoted(&text), quoted(directory));
        format!("if [ -e {directory} ]; then echo {announcement}; chown -RP -- {owner} {directory}; fi\n")
    });
    Some(["set -e\n".to_owned()].into_iter().chain(lines).collect())
}

/// Keeps `script`, so that it runs once. Gives where it is.
pub(crate) fn save(context: &Context, script: &str) -> Result<std::path::PathBuf, StageFailure> {
    let path = context.paths.job.join(SCRIPT);
    write_transient(&path, script.as_bytes()).map_err(|error| StageFailure::system(&error))?;
    Ok(path)
}

fn is_set(context: &Context, job: &Job) -> bool {
    value(FLAG, job, &context.environment).is_some_and(is_true)
}
