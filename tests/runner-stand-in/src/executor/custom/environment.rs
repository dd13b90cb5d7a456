//! The environment of a driver's call.
#![expect(clippy::disallowed_methods, reason = "a driver inherits the runner's whole environment")]

use std::ffi::OsString;

use serde::Serialize;

use super::{Places, verdict};
use crate::build::Build;
use crate::job::variables::Variables;

/// In this order, so that later entries win: our own environment, the contract's five, `job_env`, and each job variable
/// as `CUSTOM_ENV_*`. File variables appear with their content.
pub(super) fn of_call(
    build: &Build,
    places: &Places,
    job_env: &[(String, String)],
) -> Vec<(OsString, OsString)> {
    let mut list: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let mut add = |key: &str, value: OsString| list.push((key.into(), value));
    add("TMPDIR", places.directory.clone().into());
    add("BUILD_FAILURE_EXIT_CODE", verdict::BUILD_FAILURE.to_string().into());
    add("SYSTEM_FAILURE_EXIT_CODE", verdict::SYSTEM_FAILURE.to_string().into());
    add("BUILD_EXIT_CODE_FILE", places.exit_code.clone().into());
    add("JOB_RESPONSE_FILE", places.job_response.clone().into());
    for (key, value) in job_env {
        add(key, value.into());
    }
    for variable in build.variables().iter() {
        add(&format!("CUSTOM_ENV_{}", variable.key), (&variable.value).into());
    }
    add("CUSTOM_ENV_CI_JOB_SERVICES", services(build).into());
    list
}

#[derive(Serialize)]
struct Service<'a> {
    name: &'a str,
    alias: &'a str,
    entrypoint: Option<&'a [String]>,
    command: Option<&'a [String]>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    variables: serde_json::Map<String, serde_json::Value>,
}

/// `CI_JOB_SERVICES`: a JSON list, or nothing at all without services.
fn services(build: &Build) -> String {
    let job_variables = build.variables();
    let services: Vec<Service<'_>> = build
        .job
        .services
        .iter()
        .flatten()
        .map(|service| {
            let own = service.variables.iter().flatten();
            let all = Variables(job_variables.iter().chain(own.clone()).cloned().collect()).expanded();
            Service {
                name: &service.name,
                alias: service.first_alias(),
                entrypoint: service.entrypoint.as_deref(),
                command: service.command.as_deref(),
                variables: own
                    .map(|variable| (variable.key.clone(), all.value(&variable.key).into()))
                    .collect(),
            }
        })
        .collect();
    if services.is_empty() { String::new() } else { serde_json::to_string(&services).unwrap_or_default() }
}
