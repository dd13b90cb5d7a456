//! All variables of a job, in the order that decides which one wins.

use super::Build;
use super::feature_flags::FLAGS;
use crate::duration;
use crate::job::variables::{TEMP_PROJECT_DIR, Variable, Variables};
use crate::version;

/// Flags, then what the runner sets below the job, the job's own, and what the runner sets above it; expanded.
pub(super) fn all(build: &Build) -> Variables {
    let flags = FLAGS.iter().map(|(name, _)| Variable::internal(name, build.flag(name).to_string()));
    let job = build.job.variables.iter().flatten().filter(|variable| !is_flag(&variable.key)).cloned();
    let list = flags.chain(before_job(build)).chain(job).chain(after_job(build));
    Variables(list.collect()).expanded()
}

/// The same with the flags' defaults and the job's wishes for them: what settings are read from.
pub(super) fn for_settings(build: &Build) -> Variables {
    let flags = FLAGS.iter().map(|(name, default)| Variable::internal(name, default.to_string()));
    let job = build.job.variables.iter().flatten().cloned();
    let list = flags.chain(before_job(build)).chain(job).chain(after_job(build));
    Variables(list.collect()).expanded()
}

fn is_flag(key: &str) -> bool {
    FLAGS.iter().any(|(name, _)| *name == key)
}

fn before_job(build: &Build) -> Vec<Variable> {
    let mut list = Vec::new();
    if !build.job.image.name.is_empty() {
        list.push(Variable::internal("CI_JOB_IMAGE", &build.job.image.name));
    }
    list.extend(build.runner.variables().0);
    list.extend([
        Variable::internal("CI_BUILDS_DIR", &build.directories.root),
        Variable::internal("CI_PROJECT_DIR", &build.directories.project),
        Variable::internal("CI_CONCURRENT_ID", "0"),
        Variable::internal("CI_CONCURRENT_PROJECT_ID", "0"),
        Variable::internal("CI_SERVER", "yes"),
        Variable::internal("CI_JOB_STATUS", "running"),
        Variable::internal("CI_JOB_TIMEOUT", build.timeout().as_secs().to_string()),
    ]);
    if !build.ca_chain.is_empty() {
        list.push(Variable { file: true, ..Variable::internal("CI_SERVER_TLS_CA_FILE", &build.ca_chain) });
    }
    list
}

fn after_job(build: &Build) -> [Variable; 5] {
    [
        Variable::internal("CI_SHARED_ENVIRONMENT", "true"),
        Variable::internal("CI_RUNNER_VERSION", version::VERSION),
        Variable::internal("CI_RUNNER_REVISION", version::REVISION),
        Variable::internal("CI_RUNNER_EXECUTABLE_ARCH", version::platform()),
        Variable::internal(TEMP_PROJECT_DIR, build.directories.temporary()),
    ]
}

/// The two time limits that jobs set by variable, in Go's notation. Zero or nonsense is none.
pub(super) fn stage_timeout(build: &Build, name: &str) -> Option<std::time::Duration> {
    let variables = build.variables();
    let text = variables.value(name);
    if text.trim().is_empty() {
        return None;
    }
    let Some(limit) = duration::parse(text) else {
        build.log.warning(&format!("Ignoring malformed {name} timeout: {text}"));
        return None;
    };
    (!limit.is_zero()).then_some(limit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Runner;
    use crate::job;
    use crate::joblog::{JobLog, Style};
    use crate::trace::buffer::Buffer;

    #[test]
    fn precedence_is_runner_job_runner() {
        let payload = r#"{"variables": [
            {"key": "CI_PROJECT_DIR", "value": "/forged"}, {"key": "CI_SHARED_ENVIRONMENT", "value": "no"},
            {"key": "FF_TIMESTAMPS", "value": "false"}, {"key": "FF_SCRIPT_SECTIONS", "value": "true"},
            {"key": "FROM_CONFIG", "value": "job"}, {"key": "GIT_STRATEGY", "value": "empty"},
            {"key": "GET_SOURCES_ATTEMPTS", "value": "99"}]}"#;
        let runner = Runner {
            environment: vec!["FROM_CONFIG=config".into(), "SEES=$CI_PROJECT_DIR".into()],
            feature_flags: [("FF_SCRIPT_SECTIONS".to_owned(), false)].into(),
            ..Runner::default()
        };
        let log = JobLog::new(Arc::new(Buffer::new(1000)), Style::default());
        let build = Build::new(job::parse(payload.as_bytes()).unwrap(), runner, log);
        let variables = build.variables();
        assert_eq!(variables.value("CI_PROJECT_DIR"), "/forged");
        assert_eq!(variables.value("CI_SHARED_ENVIRONMENT"), "true");
        assert_eq!(variables.value("FROM_CONFIG"), "job");
        assert_eq!(variables.value("SEES"), "/forged");
        assert_eq!(variables.value("FF_TIMESTAMPS"), "false");
        assert_eq!(variables.value("FF_SCRIPT_SECTIONS"), "false");
        assert_eq!(variables.value(TEMP_PROJECT_DIR), ".tmp");
        assert_eq!(build.settings.get_sources_attempts, 10);
        assert_eq!(
            build.settings.problems,
            ["GET_SOURCES_ATTEMPTS: number of attempts out of the range [1, 10], clamping to: 10"]
        );
    }
}
