//! The variables of a service: the public ones of the job, then its own (gitlab-runner: `common/build.go`,
//! `GetServiceVariables`).

use std::collections::BTreeMap;

use crate::job::{Image, Job, Variable};
use crate::job_variables::expand_with;

/// Variables that gitlab-runner makes itself. They are not in the job's payload, and a service may look for them.
const RUNNERS_OWN: [&str; 15] = [
    "CI_BUILDS_DIR",
    "CI_PROJECT_DIR",
    "CI_CONCURRENT_ID",
    "CI_CONCURRENT_PROJECT_ID",
    "CI_SERVER",
    "CI_SHARED_ENVIRONMENT",
    "CI_DISPOSABLE_ENVIRONMENT",
    "CI_BUILD_NETWORK_NAME",
    "CI_JOB_IMAGE",
    "CI_JOB_STATUS",
    "CI_RUNNER_SHORT_TOKEN",
    "CI_RUNNER_VERSION",
    "CI_RUNNER_REVISION",
    "CI_RUNNER_EXECUTABLE_ARCH",
    "RUNNER_TEMP_PROJECT_DIR",
];

/// Every feature flag with its value is a variable too.
const FEATURE_FLAG: &str = "FF_";

/// The environment of `service`. `node` is the driver's environment, in which gitlab-runner hands over every variable of the
/// job with its references replaced, secret ones included: those only reach a service through references in its own variables.
pub(crate) fn environment(
    job: &Job,
    service: &Image,
    node: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let expanded = |key: &str| node.get(&format!("CUSTOM_ENV_{key}")).cloned();
    let path_of_file = |key: &str| {
        format!("{}/{key}", expanded("RUNNER_TEMP_PROJECT_DIR").unwrap_or_else(|| "/builds.tmp".to_owned()))
    };
    let of_job = |key: &str| match job.variables.iter().rev().find(|variable| variable.key == key) {
        Some(variable) if variable.file => path_of_file(key),
        _ => expanded(key).unwrap_or_default(),
    };
    let mut environment = BTreeMap::new();
    for key in RUNNERS_OWN {
        environment.extend(expanded(key).map(|value| (key.to_owned(), value)));
    }
    let in_payload = |key: &str| job.variables.iter().any(|variable| variable.key == key);
    for (key, value) in node {
        if let Some(flag) = key.strip_prefix("CUSTOM_ENV_").filter(|key| key.starts_with(FEATURE_FLAG))
            && !in_payload(flag)
        {
            environment.insert(flag.to_owned(), value.clone());
        }
    }
    for variable in job.variables.iter().filter(|variable| variable.public) {
        let is_last = job.variables.iter().rev().find(|other| other.key == variable.key) == Some(variable);
        let value = match variable {
            Variable { file: true, .. } => path_of_file(&variable.key),
            // A later, secret one of the same name is what the driver was given.
            _ if is_last => expanded(&variable.key).unwrap_or_else(|| variable.value.clone()),
            Variable { raw: true, .. } => variable.value.clone(),
            _ => expand_with(&variable.value, of_job),
        };
        environment.insert(variable.key.clone(), value);
    }
    for variable in &service.variables {
        let own = |key: &str| service.variables.iter().rev().find(|other| other.key == key);
        let value = if variable.raw {
            variable.value.clone()
        } else {
            expand_with(&variable.value, |key| own(key).map_or_else(|| of_job(key), |own| own.value.clone()))
        };
        environment.insert(variable.key.clone(), value);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{"variables": [
        {"key": "CI_JOB_ID", "value": "1", "public": true},
        {"key": "CI_JOB_TOKEN", "value": "secret", "public": false, "masked": true},
        {"key": "NAME", "value": "$CI_JOB_ID-x", "public": true},
        {"key": "OVERRIDDEN", "value": "open $CI_JOB_ID", "public": true},
        {"key": "OVERRIDDEN", "value": "hidden", "public": false},
        {"key": "FF_HIDDEN", "value": "set by a secret variable", "public": false},
        {"key": "CERT", "value": "-----", "public": true, "file": true}]}"#;

    fn node() -> BTreeMap<String, String> {
        [
            ("CI_JOB_ID", "1"),
            ("CI_JOB_TOKEN", "secret"),
            ("NAME", "1-x"),
            ("OVERRIDDEN", "hidden"),
            ("CI_PROJECT_DIR", "/builds/g/p"),
            ("RUNNER_TEMP_PROJECT_DIR", "/builds/g/p.tmp"),
            ("CI_RUNNER_VERSION", "19.4.0"),
            ("FF_USE_FASTZIP", "true"),
            ("FF_HIDDEN", "set by a secret variable"),
            ("CI_JOB_SERVICES", "[]"),
        ]
        .map(|(key, value)| (format!("CUSTOM_ENV_{key}"), value.to_owned()))
        .into()
    }

    fn check(service: &str, expected: &[&str]) {
        let job: Job = serde_json::from_str(JOB).unwrap();
        let service: Image = serde_json::from_str(service).unwrap();
        let found: Vec<String> = environment(&job, &service, &node())
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(found, expected);
    }

    const PUBLIC: [&str; 8] = [
        "CERT=/builds/g/p.tmp/CERT",
        "CI_JOB_ID=1",
        "CI_PROJECT_DIR=/builds/g/p",
        "CI_RUNNER_VERSION=19.4.0",
        "FF_USE_FASTZIP=true",
        "NAME=1-x",
        "OVERRIDDEN=open 1",
        "RUNNER_TEMP_PROJECT_DIR=/builds/g/p.tmp",
    ];

    #[test]
    fn only_public_variables_leak_in() {
        check("{}", &PUBLIC);
    }

    #[test]
    fn its_own_variables_may_refer_to_secret_ones() {
        let service = r#"{"variables": [{"key": "A", "value": "$CI_JOB_TOKEN/${NAME}/$CERT$$"},
            {"key": "B", "value": "$A"}, {"key": "C", "value": "$A", "raw": true}]}"#;
        let own = ["A=secret/1-x//builds/g/p.tmp/CERT$", "B=$CI_JOB_TOKEN/${NAME}/$CERT$$", "C=$A"];
        check(service, &[&own[..], &PUBLIC].concat());
    }
}
