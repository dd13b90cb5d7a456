//! How a script's process begins in the container: the text that its first shell reads, with the environment that docker
//! would give to the image's entrypoint.
//!
//! The text goes through a descriptor (`PodCommand::entry`). Values may be secrets: arguments can be seen by every user of
//! the node, and variables of Apptainer's own environment have limits of size and are flags to it.

use std::collections::BTreeMap;

use globset::Glob;
use meta_core::command_line::quoted;

use crate::context::Context;
use crate::job::Job;
use crate::pod::init::{ENTRY_FD, STARTED_FD};
use crate::pod::report::{NO_ENTRYPOINT, STARTED};
use crate::pod::spec::EntryText;
use crate::state::PreparedImage;

/// docker's PATH for an image that sets none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What Apptainer puts into the environment and docker does not. The `BIND` ones would show host paths to the job.
const APPTAINER_VARIABLES: &str = "APPTAINER_APPNAME APPTAINER_BIND APPTAINER_COMMAND APPTAINER_CONTAINER \
    APPTAINER_ENVIRONMENT APPTAINER_NAME APPTAINER_NO_EVAL SINGULARITY_APPNAME SINGULARITY_BIND SINGULARITY_CONTAINER \
    SINGULARITY_ENVIRONMENT SINGULARITY_NAME SINGULARITY_NO_EVAL USER_PATH LD_LIBRARY_PATH PS1 PROMPT_COMMAND LANG";

/// gitlab-runner's prefix of job variables in our environment.
const JOB_VARIABLE: &str = "CUSTOM_ENV_";

/// A password for the batch system itself: with it a job could do there what the account can (slurm: `auth/jwt`). No pattern
/// lets it through.
const BATCH_TOKEN: &str = "SLURM_JWT";

/// The text that makes `environment` the container's.
pub(crate) fn text(environment: &BTreeMap<String, String>) -> EntryText {
    EntryText::new(script(environment))
}

/// The environment of the job's scripts.
pub(crate) fn job_environment(
    context: &Context,
    job: &Job,
    hostname: &str,
    image: &PreparedImage,
) -> BTreeMap<String, String> {
    let node = &context.environment.variables;
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("HOME".to_owned(), image.user.home.clone()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ]);
    environment.extend(image_variables(&image.env));
    environment.extend(allocation_variables(node, &context.settings.pass_env));
    environment.extend(job_variables(node, job));
    environment
}

/// The variables of an image's configuration.
pub(crate) fn image_variables(env: &[String]) -> impl Iterator<Item = (String, String)> {
    env.iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// What `pass_env` lets through. It beats the image: images of CUDA say that all GPUs are visible.
fn allocation_variables(node: &BTreeMap<String, String>, pass_env: &[String]) -> BTreeMap<String, String> {
    let globs: Vec<_> =
        pass_env.iter().filter_map(|glob| Some(Glob::new(glob).ok()?.compile_matcher())).collect();
    let is_ours = |name: &str| name.starts_with(JOB_VARIABLE) || name == BATCH_TOKEN;
    let passes = |name: &str| !is_ours(name) && globs.iter().any(|glob| glob.is_match(name));
    node.iter().filter(|(name, _)| passes(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The job's variables as docker gives them to its containers (gitlab-runner: `Variables.StringList`).
///
/// gitlab-runner has expanded them in `CUSTOM_ENV_*`. A job can forge these, but here it only speaks to itself. File
/// variables have their text there and their path in docker.
fn job_variables(node: &BTreeMap<String, String>, job: &Job) -> BTreeMap<String, String> {
    let own = node.iter().filter_map(|(name, value)| Some((name.strip_prefix(JOB_VARIABLE)?, value)));
    let temporary = node.get("CUSTOM_ENV_RUNNER_TEMP_PROJECT_DIR").map_or("", String::as_str);
    own.filter_map(|(name, value)| match name {
        // Only the custom executor has it.
        "CI_JOB_SERVICES" => None,
        // The same fact in docker's words: nothing is left to another job.
        "CI_SHARED_ENVIRONMENT" => Some(("CI_DISPOSABLE_ENVIRONMENT".to_owned(), value.clone())),
        name if job.is_file(name) => Some((name.to_owned(), format!("{temporary}/{name}"))),
        name => Some((name.to_owned(), value.clone())),
    })
    .collect()
}

/// Sets the environment, reports, and becomes the words that follow in the first shell's arguments.
pub(crate) fn script(environment: &BTreeMap<String, String>) -> String {
    let mut script = format!("unset {APPTAINER_VARIABLES}\n{{\n");
    // A shell cannot export other names; docker can, but nothing that a shell starts sees them there either.
    for (name, value) in environment.iter().filter(|(name, _)| is_shell_name(name)) {
        // With `command` a variable that the shell keeps for itself (`UID` in bash) does not end it.
        script.push_str(&format!("command export {name}={}\n", quoted(value)));
    }
    script.push_str(&format!(
        "}} 2>/dev/null\n\
         if command -v \"$1\" >/dev/null 2>&1; then echo {STARTED} >&{STARTED_FD}\n\
         else echo {NO_ENTRYPOINT} >&{STARTED_FD}; exit 127; fi\n\
         exec {ENTRY_FD}<&- {STARTED_FD}>&-\n\
         exec \"$@\"\n"
    ));
    script
}

fn is_shell_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.chars().next().is_some_and(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn only_some_names_are_a_shells() {
        assert!(is_shell_name("A_1") && !is_shell_name("1A") && !is_shell_name("a-b") && !is_shell_name(""));
    }

    #[test]
    fn the_job_sees_what_docker_would_show() {
        let job: Job = serde_json::from_str(
            r#"{"variables": [{"key": "TEXT", "value": "a", "file": true}, {"key": "TEXT", "value": "b"},
                {"key": "KEYS", "value": "content", "file": true}], "secrets": {"VAULT": {}, "WORD": {"file": false}}}"#,
        )
        .unwrap();
        let node = map(&[
            ("HOME", "/home/ci"),
            ("CUSTOM_ENV_TEXT", "b"),
            ("CUSTOM_ENV_KEYS", "content"),
            ("CUSTOM_ENV_VAULT", "secret"),
            ("CUSTOM_ENV_WORD", "word"),
            ("CUSTOM_ENV_CI_SERVER_TLS_CA_FILE", "PEM"),
            ("CUSTOM_ENV_CI_JOB_SERVICES", "[]"),
            ("CUSTOM_ENV_CI_SHARED_ENVIRONMENT", "true"),
            ("CUSTOM_ENV_RUNNER_TEMP_PROJECT_DIR", "/builds/p.tmp"),
        ]);
        let expected = map(&[
            ("CI_DISPOSABLE_ENVIRONMENT", "true"),
            ("CI_SERVER_TLS_CA_FILE", "/builds/p.tmp/CI_SERVER_TLS_CA_FILE"),
            ("KEYS", "/builds/p.tmp/KEYS"),
            ("RUNNER_TEMP_PROJECT_DIR", "/builds/p.tmp"),
            ("TEXT", "b"),
            ("VAULT", "/builds/p.tmp/VAULT"),
            ("WORD", "word"),
        ]);
        assert_eq!(job_variables(&node, &job), expected);
    }

    #[test]
    fn only_named_variables_of_the_allocation_pass() {
        let node = map(&[
            ("SLURM_JOB_ID", "7"),
            ("SLURM_JWT", "secret"),
            ("PMI_RANK", "0"),
            ("CUSTOM_ENV_X", "1"),
            ("HOME", "/home/ci"),
        ]);
        let globs = ["SLURM_*".to_owned(), "PMI*".to_owned(), "*_X".to_owned()];
        assert_eq!(allocation_variables(&node, &globs), map(&[("PMI_RANK", "0"), ("SLURM_JOB_ID", "7")]));
    }
}
