//! `config.toml` of gitlab-runner: what one `[[runners]]` entry says.
//!
//! Keys that this stand-in doesn't act on are ignored, as the real program ignores unknown ones; those that would
//! change the outcome of a job are listed by [`Runner::unsupported`].

mod system_id;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::job::variables::{Variable, Variables, expand};

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    runners: Vec<Runner>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Runner {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) executor: String,
    pub(crate) shell: String,
    pub(crate) builds_dir: String,
    pub(crate) cache_dir: String,
    pub(crate) clone_url: String,
    pub(crate) environment: Vec<String>,
    pub(crate) pre_get_sources_script: String,
    pub(crate) post_get_sources_script: String,
    pub(crate) pre_build_script: String,
    pub(crate) post_build_script: String,
    /// Go durations.
    pub(crate) prepare_timeout: Option<String>,
    pub(crate) get_sources_timeout: Option<String>,
    pub(crate) debug_trace_disabled: bool,
    pub(crate) safe_directory_checkout: Option<bool>,
    pub(crate) clean_git_config: Option<bool>,
    /// KiB; 0 is 4096.
    pub(crate) output_limit: u64,
    pub(crate) job_status_final_update_retry_limit: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) feature_flags: BTreeMap<String, bool>,
    #[serde(rename = "tls-ca-file")]
    pub(crate) tls_ca_file: Option<PathBuf>,
    #[serde(rename = "tls-cert-file")]
    pub(crate) tls_cert_file: Option<String>,
    pub(crate) custom: Option<Custom>,
    pub(crate) custom_build_dir: CustomBuildDir,
    pub(crate) artifact: Artifact,
    pub(crate) cache: Cache,
    /// Not in the file: names this installation to GitLab.
    #[serde(skip)]
    pub(crate) system_id: String,
    /// Not in the file: where it lies; certificates are looked for beside it.
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

/// `[runners.custom]`: four programs with their arguments, and how long to wait for them, in seconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Custom {
    pub(crate) config_exec: String,
    pub(crate) config_args: Vec<String>,
    pub(crate) config_exec_timeout: Option<i64>,
    pub(crate) prepare_exec: String,
    pub(crate) prepare_args: Vec<String>,
    pub(crate) prepare_exec_timeout: Option<i64>,
    pub(crate) run_exec: String,
    pub(crate) run_args: Vec<String>,
    pub(crate) cleanup_exec: String,
    pub(crate) cleanup_args: Vec<String>,
    pub(crate) cleanup_exec_timeout: Option<i64>,
    pub(crate) graceful_kill_timeout: Option<i64>,
    pub(crate) force_kill_timeout: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CustomBuildDir {
    pub(crate) enabled: Option<bool>,
}

/// `[runners.artifact]`, Go durations.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Artifact {
    pub(crate) upload_timeout: Option<String>,
    pub(crate) response_header_timeout: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cache {
    #[serde(rename = "Type")]
    kind: String,
}

#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot parse `{}`", path.display())]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("could not find a runner with the name '{name}'")]
    NoSuchRunner { name: String },
}

/// Finds the entry with this name and gives it its system id, which is read from or written beside the file.
pub(crate) fn load(path: &Path, name: &str) -> Result<Runner, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let file: File =
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
    let found = file.runners.into_iter().find(|runner| runner.name == name);
    let mut runner = found.ok_or_else(|| ConfigError::NoSuchRunner { name: name.to_owned() })?;
    runner.directory = path.parent().map(Path::to_owned).unwrap_or_default();
    runner.system_id = system_id::load_or_create(&runner.directory);
    Ok(runner)
}

/// For a runner that was given by flags only.
pub(crate) fn fresh_system_id() -> String {
    system_id::generate()
}

impl Runner {
    /// URL and token may refer to environment variables.
    pub(crate) fn expand_environment(&mut self) {
        self.url = expand(&self.url, environment);
        self.token = expand(&self.token, environment);
    }

    /// The first characters of the token without its known prefix, as logs and directories show it.
    pub(crate) fn short_token(&self) -> &str {
        short_token(&self.token)
    }

    /// `CI_RUNNER_SHORT_TOKEN` and the entries of `environment`.
    pub(crate) fn variables(&self) -> Variables {
        let own = Variable::internal("CI_RUNNER_SHORT_TOKEN", self.short_token());
        let from_config = self.environment.iter().filter_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            Some(Variable { public: false, ..Variable::internal(key, value) })
        });
        Variables(std::iter::once(own).chain(from_config).collect())
    }

    /// What this entry asks for and the stand-in can't do.
    pub(crate) fn unsupported(&self) -> Option<String> {
        if !self.cache.kind.is_empty() {
            return Some(format!("remote caches (`Type = \"{}\"` in [runners.cache])", self.cache.kind));
        }
        self.tls_cert_file.as_ref().map(|_| "client certificates (`tls-cert-file`)".to_owned())
    }
}

#[expect(clippy::disallowed_methods, reason = "gitlab-runner reads its environment where it needs it")]
fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Cuts the prefix that says what kind of token it is, then keeps 9 characters.
fn short_token(token: &str) -> &str {
    let without_partition =
        |rest: &str| ["t1_", "t2_", "t3_"].iter().find_map(|p| rest.strip_prefix(p)).map(str::len);
    let mut rest = token;
    if let Some(after) = rest.strip_prefix("glrt-") {
        rest = after;
    } else if let Some(after) = rest.strip_prefix("glrtr-").or_else(|| rest.strip_prefix("glcbt-")) {
        return first_nine(after);
    }
    if let Some(length) = without_partition(rest) {
        rest = &rest[rest.len() - length..];
    }
    first_nine(rest)
}

fn first_nine(text: &str) -> &str {
    text.get(..9).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_shortened_as_the_runner_does() {
        for (token, short) in [
            ("glrt-abcdefghijkl", "abcdefghi"),
            ("glrt-t1_abcdefghijkl", "abcdefghi"),
            ("glcbt-64_abcdefghijkl", "64_abcdef"),
            ("short", "short"),
        ] {
            assert_eq!(short_token(token), short, "{token}");
        }
    }

    #[test]
    fn an_entry_is_found_by_name_and_keeps_its_system_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let text = "concurrent = 4\n[[runners]]\nname = \"a\"\n[[runners]]\nname = \"b\"\nexecutor = \"custom\"\n\
                    environment = [\"K=V=W\", \"broken\"]\n[runners.custom]\nrun_exec = \"/x\"\n";
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
        let first = load(&path, "b").unwrap();
        let second = load(&path, "b").unwrap();
        assert_eq!(first.system_id, second.system_id);
        assert_eq!(first.custom.as_ref().unwrap().run_exec, "/x");
        assert_eq!(first.variables().value("K"), "V=W");
        assert_eq!(load(&path, "c").unwrap_err().to_string(), "could not find a runner with the name 'c'");
    }
}
