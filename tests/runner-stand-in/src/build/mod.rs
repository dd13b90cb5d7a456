//! One job on its way through the stages.
//!
//! [`Build`] holds what is known of it; [`run`] drives it; [`stages`] has the order of the stages.

pub(crate) mod directories;
pub(crate) mod failure;
pub(crate) mod feature_flags;
pub(crate) mod run;
pub(crate) mod settings;
pub(crate) mod stages;
mod variables;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use directories::Directories;
use settings::Settings;

use crate::config::Runner;
use crate::duration;
use crate::job::Job;
use crate::job::variables::{Variable, Variables};
use crate::joblog::{JobLog, Style};

/// Without `runner_info.timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(7200);
const ALWAYS_MASKED_PREFIX: &str = "glpat-";
const MASKED_PREFIXES: [&str; 13] = [
    "gloas-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glrtr-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
    "glffct-",
    "_gitlab_session=",
    "gltok-",
];

#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) job: Job,
    pub(crate) runner: Runner,
    pub(crate) log: JobLog,
    pub(crate) directories: Directories,
    /// What the executor calls this host; shown in the log.
    pub(crate) hostname: String,
    /// Content of the CA file, for jobs.
    pub(crate) ca_chain: String,
    pub(crate) settings: Settings,
    /// Expanded; `CI_JOB_STATUS` changes before after_script.
    variables: RwLock<Variables>,
}

impl Build {
    /// `log` is where lines go before the job's own style of log is known.
    pub(crate) fn new(job: Job, runner: Runner, log: JobLog) -> Self {
        let ca_chain = runner
            .tls_ca_file
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        let mut build = Self {
            job,
            runner,
            log,
            directories: Directories::default(),
            hostname: String::new(),
            ca_chain,
            settings: Settings::default(),
            variables: RwLock::default(),
        };
        build.refresh();
        build
    }

    /// Computes settings and variables anew, after something that they depend on has changed.
    pub(crate) fn refresh(&mut self) {
        self.settings = settings::of(self);
        let all = variables::all(self);
        self.variables = RwLock::new(all);
    }

    pub(crate) fn variables(&self) -> RwLockReadGuard<'_, Variables> {
        self.variables.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_job_status(&self, status: &str) {
        let variable = Variable::internal("CI_JOB_STATUS", status);
        self.variables.write().unwrap_or_else(PoisonError::into_inner).overwrite(variable);
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.settings.flags.get(name).copied().unwrap_or(false)
    }

    pub(crate) fn timeout(&self) -> Duration {
        match u64::try_from(self.job.runner_info.timeout) {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
            _ => DEFAULT_TIMEOUT,
        }
    }

    /// `prepare_timeout` or `get_sources_timeout`; what is not a duration within the job's own counts as not set.
    pub(crate) fn limited(&self, timeout: Option<&String>) -> Duration {
        let limit = timeout.and_then(|text| duration::parse(text));
        limit.filter(|limit| !limit.is_zero()).map_or(self.timeout(), |limit| limit.min(self.timeout()))
    }

    /// How the job's log is to be written.
    pub(crate) fn log_style(&self) -> Style {
        let mut token_prefixes: Vec<String> =
            self.job.features.token_mask_prefixes.iter().flatten().cloned().collect();
        token_prefixes.push(ALWAYS_MASKED_PREFIX.to_owned());
        if self.flag("FF_MASK_ALL_DEFAULT_TOKENS") {
            token_prefixes.extend(MASKED_PREFIXES.map(str::to_owned));
        }
        // Unique, in any order that is the same each time.
        token_prefixes.sort();
        token_prefixes.dedup();
        Style { phrases: self.variables().masked(), token_prefixes, timestamps: self.flag("FF_TIMESTAMPS") }
    }
}
