//! What a job's variables set: `GIT_STRATEGY`, attempts, flags and the like.

use std::collections::BTreeMap;

use super::Build;
use super::feature_flags::FLAGS;
use super::variables;
use crate::job::variables::Variables;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GitStrategy {
    #[default]
    Clone,
    Fetch,
    None,
    Empty,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SubmoduleStrategy {
    #[default]
    None,
    Normal,
    Recursive,
    /// Any other text. get_sources fails with it.
    Invalid,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) debug_services: bool,
    pub(crate) debug_trace: bool,
    pub(crate) git_clone_path: String,
    pub(crate) git_checkout: bool,
    pub(crate) git_strategy: GitStrategy,
    pub(crate) submodule_strategy: SubmoduleStrategy,
    pub(crate) submodule_paths: Vec<String>,
    pub(crate) submodule_depth: i64,
    pub(crate) submodule_update_flags: Vec<String>,
    pub(crate) submodule_force_https: bool,
    pub(crate) git_clean_flags: Vec<String>,
    pub(crate) git_fetch_flags: Vec<String>,
    pub(crate) lfs_skip_smudge: bool,
    pub(crate) get_sources_attempts: u32,
    pub(crate) artifact_download_attempts: u32,
    pub(crate) restore_cache_attempts: u32,
    pub(crate) after_script_ignore_errors: bool,
    /// Minutes.
    pub(crate) cache_request_timeout: i64,
    pub(crate) flags: BTreeMap<&'static str, bool>,
    /// What was wrong with the variables. Shown in the job log; a default takes their place.
    pub(crate) problems: Vec<String>,
}

/// Reads the settings from the build's variables, as they are before flags are resolved.
pub(super) fn of(build: &Build) -> Settings {
    let mut reader = Reader { variables: variables::for_settings(build), problems: Vec::new() };
    let default_strategy = if build.job.allow_git_fetch { GitStrategy::Fetch } else { GitStrategy::Clone };
    let mut settings = Settings {
        debug_services: reader.boolean("CI_DEBUG_SERVICES", false),
        debug_trace: reader.boolean("CI_DEBUG_TRACE", false),
        git_clone_path: reader.variables.value("GIT_CLONE_PATH").to_owned(),
        git_strategy: reader.git_strategy(default_strategy),
        git_checkout: reader.boolean("GIT_CHECKOUT", true),
        submodule_strategy: reader.submodule_strategy(),
        submodule_paths: reader
            .variables
            .value("GIT_SUBMODULE_PATHS")
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        submodule_depth: reader.integer("GIT_SUBMODULE_DEPTH", build.job.git_info.depth),
        git_clean_flags: reader.words("GIT_CLEAN_FLAGS", owned(&["-ffdx"])),
        git_fetch_flags: reader.words("GIT_FETCH_EXTRA_FLAGS", owned(&["--prune", "--quiet"])),
        submodule_update_flags: reader.words("GIT_SUBMODULE_UPDATE_FLAGS", Vec::new()),
        lfs_skip_smudge: reader.boolean("GIT_LFS_SKIP_SMUDGE", false),
        submodule_force_https: reader.boolean("GIT_SUBMODULE_FORCE_HTTPS", false),
        get_sources_attempts: reader.attempts("GET_SOURCES_ATTEMPTS"),
        artifact_download_attempts: reader.attempts("ARTIFACT_DOWNLOAD_ATTEMPTS"),
        restore_cache_attempts: reader.attempts("RESTORE_CACHE_ATTEMPTS"),
        after_script_ignore_errors: reader.boolean("AFTER_SCRIPT_IGNORE_ERRORS", true),
        cache_request_timeout: reader.integer("CACHE_REQUEST_TIMEOUT", 10),
        flags: BTreeMap::new(),
        problems: Vec::new(),
    };
    if build.runner.debug_trace_disabled {
        reader.refuse_debug(&mut settings);
    }
    for (name, default) in FLAGS {
        let on = match build.runner.feature_flags.get(name) {
            Some(on) => *on,
            None => reader.boolean_or_problem(name, default),
        };
        settings.flags.insert(name, on);
    }
    settings.problems = reader.problems;
    settings
}

struct Reader {
    variables: Variables,
    problems: Vec<String>,
}

impl Reader {
    fn boolean(&mut self, name: &str, default: bool) -> bool {
        let raw = self.variables.value(name).to_owned();
        if raw.is_empty() {
            return default;
        }
        parse_bool(&raw).unwrap_or_else(|| {
            self.problems
                .push(format!("{name}: expected bool got \"{raw}\", using default value: {default}"));
            default
        })
    }

    fn boolean_or_problem(&mut self, name: &str, default: bool) -> bool {
        let raw = self.variables.get(name);
        parse_bool(&raw).unwrap_or_else(|| {
            self.problems.push(format!("{name}: could not parse feature flag, expected bool, got {raw}"));
            default
        })
    }

    fn integer(&mut self, name: &str, default: i64) -> i64 {
        let raw = self.variables.value(name).to_owned();
        if raw.is_empty() {
            return default;
        }
        raw.parse().unwrap_or_else(|_| {
            self.problems.push(format!("{name}: expected int got \"{raw}\", using default value: {default}"));
            default
        })
    }

    fn attempts(&mut self, name: &str) -> u32 {
        let wanted = self.integer(name, 1);
        let clamped = wanted.clamp(1, 10);
        if clamped != wanted {
            self.problems
                .push(format!("{name}: number of attempts out of the range [1, 10], clamping to: {clamped}"));
        }
        u32::try_from(clamped).unwrap_or(1)
    }

    /// The word `none` stands for no flags at all.
    fn words(&mut self, name: &str, default: Vec<String>) -> Vec<String> {
        match self.variables.value(name) {
            "" => default,
            "none" => Vec::new(),
            text => text.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn git_strategy(&mut self, default: GitStrategy) -> GitStrategy {
        match self.variables.value("GIT_STRATEGY") {
            "clone" => GitStrategy::Clone,
            "fetch" => GitStrategy::Fetch,
            "none" => GitStrategy::None,
            "empty" => GitStrategy::Empty,
            "" => default,
            other => {
                let default_name = if default == GitStrategy::Fetch { "fetch" } else { "clone" };
                let problem = format!(
                    "GIT_STRATEGY: expected either 'clone', 'fetch', 'none' or 'empty' got \"{other}\", \
                     using default value '{default_name}'"
                );
                self.problems.push(problem);
                default
            }
        }
    }

    fn submodule_strategy(&mut self) -> SubmoduleStrategy {
        match self.variables.value("GIT_SUBMODULE_STRATEGY") {
            "normal" => SubmoduleStrategy::Normal,
            "recursive" => SubmoduleStrategy::Recursive,
            "none" | "" => SubmoduleStrategy::None,
            other => {
                let problem = format!(
                    "GIT_SUBMODULE_STRATEGY: expected either 'normal', 'recursive' or 'none' got \"{other}\""
                );
                self.problems.push(problem);
                SubmoduleStrategy::Invalid
            }
        }
    }

    fn refuse_debug(&mut self, settings: &mut Settings) {
        let places = [
            ("CI_DEBUG_TRACE", &mut settings.debug_trace),
            ("CI_DEBUG_SERVICES", &mut settings.debug_services),
        ];
        for (name, on) in places {
            if std::mem::take(on) {
                self.problems.push(format!("{name}: usage is disabled on this Runner"));
            }
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
