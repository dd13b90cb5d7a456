//! The job as gitlab-runner describes it in `JOB_RESPONSE_FILE`.
//!
//! The file has GitLab's predefined variables first, so the first occurrence of a key is GitLab's. `CUSTOM_ENV_*`, which job
//! variables can forge, is for what a job may choose freely (`job_variables`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// What the driver needs of a job (gitlab-runner: `common/spec/spec.go`).
#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    #[serde(default)]
    pub(crate) job_info: JobInfo,
    #[serde(default)]
    pub(crate) git_info: GitInfo,
    /// Whether the project fetches where the job does not say how it gets its sources.
    #[serde(default)]
    pub(crate) allow_git_fetch: bool,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) variables: Vec<Variable>,
    #[serde(default)]
    pub(crate) image: Image,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) services: Vec<Image>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) credentials: Vec<RegistryCredential>,
    #[serde(default)]
    secrets: BTreeMap<String, ExternalSecret>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct JobInfo {
    #[serde(default)]
    pub(crate) project_id: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct GitInfo {
    pub(crate) protected: Option<bool>,
}

/// A variable as GitLab sends it: references in it are not replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Variable {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) public: bool,
    /// The value is a file's content; scripts see its path.
    pub(crate) file: bool,
    /// The value is taken as it is.
    pub(crate) raw: bool,
}

/// A variable of `secrets:`; gitlab-runner has got its value from a vault.
#[derive(Debug, Deserialize)]
struct ExternalSecret {
    file: Option<bool>,
}

/// `image:` or one of `services:`. Names and aliases are expanded already.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Image {
    #[serde(default)]
    pub(crate) name: String,
    /// Further host names of a service, parted by blanks or commas.
    #[serde(default)]
    pub(crate) alias: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) entrypoint: Vec<String>,
    /// Of a service; a job's image runs the job's script.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) command: Vec<String>,
    /// Of a service.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) variables: Vec<Variable>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) pull_policy: Vec<String>,
    #[serde(default)]
    pub(crate) executor_opts: ExecutorOptions,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ExecutorOptions {
    #[serde(default)]
    docker: DockerOptions,
}

/// `image: docker:` of the job.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct DockerOptions {
    #[serde(default)]
    pub(crate) platform: String,
    /// Users write names and numbers.
    #[serde(default, deserialize_with = "text_or_number")]
    pub(crate) user: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RegistryCredential {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) password: String,
}

/// File variables that gitlab-runner makes itself, before those of the job (`GetCITLSVariables`).
const TLS_FILES: [&str; 3] = ["CI_SERVER_TLS_CA_FILE", "CI_SERVER_TLS_CERT_FILE", "CI_SERVER_TLS_KEY_FILE"];

/// Why the job is not known.
#[derive(Debug, Error)]
pub(crate) enum JobError {
    #[error(
        "gitlab-runner did not set `JOB_RESPONSE_FILE`; this program is its custom executor and cannot run by itself"
    )]
    NoFile,
    #[error("cannot read the job from `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot understand the job in `{path}`")]
    Parse { path: PathBuf, source: serde_json::Error },
}

impl JobError {
    /// Whether there is no job, as opposed to one that cannot be understood.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::NoFile => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Parse { .. } => false,
        }
    }
}

impl Job {
    /// Reads the file that `JOB_RESPONSE_FILE` names.
    pub(crate) fn load(environment: &BTreeMap<String, String>) -> Result<Self, JobError> {
        let path = environment.get("JOB_RESPONSE_FILE").map(Path::new).ok_or(JobError::NoFile)?;
        let text = fs::read(path).map_err(|source| JobError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|source| JobError::Parse { path: path.to_owned(), source })
    }

    /// GitLab's own value of a predefined variable.
    pub(crate) fn predefined(&self, key: &str) -> Option<&str> {
        self.variables.iter().find(|variable| variable.key == key).map(|variable| variable.value.as_str())
    }

    /// The value that the job sees: the last one wins.
    pub(crate) fn variable(&self, key: &str) -> Option<&str> {
        self.variables
            .iter()
            .rev()
            .find(|variable| variable.key == key)
            .map(|variable| variable.value.as_str())
    }

    /// The project's name in names of directories: its number, and the GitLab that counts so. Several may send jobs to one
    /// account.
    pub(crate) fn project(&self) -> String {
        let url = self.predefined("CI_SERVER_URL").unwrap_or_default();
        let server = url.split_once("://").map_or(url, |(_, place)| place).trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let server: String = server.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let server = if server.is_empty() { "gitlab" } else { server.trim_start_matches('.') };
        format!("{server}-{}", self.job_info.project_id)
    }

    /// What the names of directories end in that protected refs must not share with others.
    pub(crate) fn protection(&self) -> &'static str {
        if self.git_info.protected == Some(true) { "-protected" } else { "" }
    }

    /// Whether scripts see the path of a file with the variable's value.
    pub(crate) fn is_file(&self, key: &str) -> bool {
        if let Some(secret) = self.secrets.get(key) {
            return secret.file.unwrap_or(true);
        }
        let last = self.variables.iter().rev().find(|variable| variable.key == key);
        last.map_or_else(|| TLS_FILES.contains(&key), |variable| variable.file)
    }

    /// GitLab's variables as `CUSTOM_ENV_*`, for templates of the configuration.
    pub(crate) fn custom_environment(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for variable in &self.variables {
            variables.entry(format!("CUSTOM_ENV_{}", variable.key)).or_insert_with(|| variable.value.clone());
        }
        variables
    }
}

impl Image {
    /// `docker:` of the image or service.
    pub(crate) fn docker_options(&self) -> &DockerOptions {
        &self.executor_opts.docker
    }
}

/// gitlab-runner writes absent lists as `null`.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        serde_json::from_str(text).expect("a job")
    }

    #[test]
    fn the_first_value_is_gitlabs_and_the_last_one_the_jobs() {
        let job = job(
            r#"{"id": 1, "variables": [{"key": "CI_JOB_ID", "value": "1"}, {"key": "CI_JOB_ID", "value": "forged"}]}"#,
        );
        assert_eq!(job.predefined("CI_JOB_ID"), Some("1"));
        assert_eq!(job.variable("CI_JOB_ID"), Some("forged"));
        assert_eq!(job.custom_environment()["CUSTOM_ENV_CI_JOB_ID"], "1");
    }

    #[test]
    fn projects_of_two_servers_have_two_names() {
        let project = |url: &str| {
            let text = format!(
                r#"{{"job_info": {{"project_id": 42}}, "variables": [{{"key": "CI_SERVER_URL", "value": "{url}"}},
                    {{"key": "CI_SERVER_URL", "value": "https://forged.example.com"}}]}}"#
            );
            job(&text).project()
        };
        assert_eq!(project("https://gitlab.example.com"), "gitlab.example.com-42");
        assert_eq!(project("http://127.0.0.1:8080/gitlab/"), "127.0.0.1_8080_gitlab-42");
        assert_eq!(project("../../etc"), "_.._etc-42");
        assert_eq!(job(r#"{"job_info": {"project_id": 42}}"#).project(), "gitlab-42");
    }

    #[test]
    fn a_job_that_is_missing_is_told_from_one_that_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("response.json");
        let variables = BTreeMap::from([("JOB_RESPONSE_FILE".to_owned(), file.display().to_string())]);
        assert!(Job::load(&BTreeMap::new()).unwrap_err().is_missing());
        assert!(Job::load(&variables).unwrap_err().is_missing());
        fs::File::create(&file).unwrap();
        assert!(!Job::load(&variables).unwrap_err().is_missing());
    }

    #[test]
    fn absent_lists_may_be_null_and_users_may_be_numbers() {
        let job = job(r#"{"id": 1, "services": null, "image": {"name": "a", "entrypoint": null,
                "executor_opts": {"docker": {"user": 1000}, "kubernetes": {}}}}"#);
        assert!(job.services.is_empty() && job.image.entrypoint.is_empty());
        assert_eq!(job.image.docker_options().user, "1000");
    }
}
