//! Copies what services write into the job log, where the job sets `CI_DEBUG_SERVICES` (gitlab-runner:
//! `helpers/service/logger.go`).

use std::path::PathBuf;

use meta_host::files::{read_private, write_transient};
use serde::{Deserialize, Serialize};

use super::{StartedService, output};
use crate::context::JobPaths;
use crate::job::Job;
use crate::{job_variables, log_line};

const GREY: &str = "\x1b[0;37m";
const RESET: &str = "\x1b[0;m";

/// How far the job log has come. Nothing is followed where nobody asked for it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follower {
    logs: Vec<Followed>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Followed {
    /// The service's host names.
    name: String,
    log: PathBuf,
    offset: u64,
}

impl Follower {
    /// Begins with `services`, if `job` wants it.
    pub(crate) fn new(job: &Job, services: &[StartedService]) -> Self {
        if !job_variables::is_true(job.variable("CI_DEBUG_SERVICES").unwrap_or_default()) {
            return Self::default();
        }
        let followed = |service: &StartedService| Followed {
            name: service.host_names.join("-"),
            log: service.log.clone(),
            offset: 0,
        };
        Self { logs: services.iter().map(followed).collect() }
    }

    /// Goes on where the last stage ended.
    pub(crate) fn load(paths: &JobPaths) -> Self {
        let text = read_private(&file(paths)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Keeps the place for the next stage. What cannot be kept is printed again.
    pub(crate) fn save(&self, paths: &JobPaths) {
        if self.logs.is_empty() {
            return;
        }
        let text = serde_json::to_string(self).expect("a follower has only strings and numbers");
        if let Err(error) = write_transient(&file(paths), text.as_bytes()) {
            log::warn!("{}", crate::failure::chain(&error));
        }
    }

    /// Prints the lines that are new.
    pub(crate) fn print_new(&mut self) {
        for followed in &mut self.logs {
            let (lines, offset) = output::lines_from(&followed.log, followed.offset);
            followed.offset = offset;
            for line in lines {
                log_line(&format!("{GREY}[service:{}] {line}{RESET}", followed.name));
            }
        }
    }
}

fn file(paths: &JobPaths) -> PathBuf {
    paths.job.join("services-followed.json")
}
