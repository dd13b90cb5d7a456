//! The job as GitLab hands it out, in the runner's own form.
//!
//! The same form, encoded again, is what a custom executor finds in `JOB_RESPONSE_FILE`: fields that the runner
//! doesn't know are gone, lists that were absent are `null`, zero values are spelled out.

pub(crate) mod image;
pub(crate) mod variables;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use image::Image;
use variables::Variable;

/// A list that remembers whether it was there: absent and `null` are encoded as `null`, an empty one as `[]`.
pub(crate) type List<T> = Option<Vec<T>>;

fn is_empty<T>(list: &List<T>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) token: String,
    pub(crate) allow_git_fetch: bool,
    pub(crate) job_info: JobInfo,
    pub(crate) git_info: GitInfo,
    pub(crate) runner_info: RunnerInfo,
    /// The real runner's type has no exported field, so this is always `{}` when encoded.
    #[serde(skip_deserializing)]
    inputs: NoInputs,
    pub(crate) variables: List<Variable>,
    pub(crate) steps: List<Step>,
    pub(crate) image: Image,
    pub(crate) services: List<Image>,
    pub(crate) artifacts: List<Artifact>,
    pub(crate) cache: List<Cache>,
    pub(crate) credentials: List<Credentials>,
    pub(crate) dependencies: List<Dependency>,
    pub(crate) features: Features,
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) hooks: List<Hook>,
    policy_options: PolicyOptions,
    suspend_options: SuspendOptions,
    /// Names the call that brought the job; git passes it on to the server.
    #[serde(skip)]
    pub(crate) correlation_id: String,
    /// Whether the payload has the key `secrets`, be it empty: then the log says that they are resolved.
    #[serde(skip)]
    pub(crate) has_secrets: bool,
    /// What the payload asks for and this stand-in can't do.
    #[serde(skip)]
    pub(crate) refused: Option<&'static str>,
}

/// Reads the body of a 201. Nulls count as absent, as for the real runner; a wrong type is an error.
pub(crate) fn parse(body: &[u8]) -> Result<Job, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    let refused = refused_feature(&value);
    if value.get("run").is_some_and(|run| !run.is_string()) {
        return Err(serde::de::Error::custom("`run` is not a string with JSON in it"));
    }
    drop_nulls(&mut value);
    let has_secrets = value.get("secrets").is_some();
    let mut job: Job = serde_json::from_value(value)?;
    job.has_secrets = has_secrets;
    job.refused = refused;
    Ok(job)
}

fn refused_feature(payload: &Value) -> Option<&'static str> {
    let not_empty = |key: &str| match payload.get(key) {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty() && text != "[]",
        _ => false,
    };
    [("run", "native steps (`run`)"), ("secrets", "`secrets`"), ("inputs", "`inputs`")]
        .into_iter()
        .find_map(|(key, feature)| not_empty(key).then_some(feature))
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, field| !field.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[derive(Clone, Debug, Default, Serialize)]
struct NoInputs {}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct JobInfo {
    pub(crate) name: String,
    stage: String,
    pub(crate) pipeline_id: i64,
    pub(crate) project_id: i64,
    project_name: String,
    project_full_path: String,
    namespace_id: i64,
    root_namespace_id: i64,
    organization_id: i64,
    instance_id: String,
    instance_uuid: String,
    user_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scoped_user_id: Option<i64>,
    #[serde(serialize_with = "shortest")]
    time_in_queue_seconds: f64,
    project_jobs_running_on_instance_runners_count: String,
    queue_size: i64,
    queue_depth: i64,
}

/// Go writes a float without a fraction like an integer.
fn shortest<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct GitInfo {
    pub(crate) repo_url: String,
    pub(crate) repo_object_format: String,
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) sha: String,
    before_sha: String,
    ref_type: String,
    pub(crate) refspecs: List<String>,
    pub(crate) depth: i64,
    protected: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RunnerInfo {
    uuid: String,
    /// Job timeout in seconds.
    pub(crate) timeout: i64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) script: List<String>,
    timeout: i64,
    when: String,
    allow_failure: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) untracked: bool,
    pub(crate) paths: List<String>,
    pub(crate) exclude: List<String>,
    pub(crate) when: String,
    pub(crate) artifact_type: String,
    pub(crate) artifact_format: String,
    pub(crate) expire_in: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Cache {
    pub(crate) key: String,
    pub(crate) untracked: bool,
    pub(crate) policy: String,
    pub(crate) paths: List<String>,
    pub(crate) when: String,
    pub(crate) fallback_keys: List<String>,
}

/// Whether something with this `when` happens after a job that ended so. Empty means `on_success`.
pub(crate) fn happens(when: &str, success: bool) -> bool {
    match when {
        "always" => true,
        "" | "on_success" => success,
        "on_failure" => !success,
        _ => false,
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Credentials {
    r#type: String,
    url: String,
    username: String,
    password: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Dependency {
    pub(crate) id: i64,
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) artifacts_file: ArtifactsFile,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ArtifactsFile {
    pub(crate) filename: String,
    size: i64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Features {
    pub(crate) trace_sections: bool,
    pub(crate) token_mask_prefixes: List<String>,
    pub(crate) failure_reasons: List<String>,
    tracing: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) script: List<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct PolicyOptions {
    execution_policy_job: bool,
    policy_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_variables_override_allowed: Option<bool>,
    #[serde(skip_serializing_if = "is_empty")]
    policy_variables_override_exceptions: List<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct SuspendOptions {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suspend_on_success: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suspend_on_failure: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    runtime_environment_key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(payload: &str) -> Value {
        serde_json::to_value(parse(payload.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn absent_lists_are_null_and_empty_ones_stay() {
        let job =
            encoded(r#"{"id": 7, "steps": [], "variables": null, "unknown": 1, "run": "", "hooks": []}"#);
        assert_eq!(job["variables"], Value::Null);
        assert_eq!(job["steps"], serde_json::json!([]));
        assert_eq!(
            job["image"],
            serde_json::json!({"name": "", "executor_opts": {
            "docker": {"platform": "", "user": ""}, "kubernetes": {"user": ""}}})
        );
        assert_eq!(job["inputs"], serde_json::json!({}));
        assert!(job.get("unknown").is_none() && job.get("hooks").is_none());
    }

    #[test]
    fn a_numeric_user_becomes_a_string() {
        let job = encoded(r#"{"image": {"name": "i", "executor_opts": {"docker": {"user": 1000}}}}"#);
        assert_eq!(job["image"]["executor_opts"]["docker"]["user"], "1000");
    }

    #[test]
    fn what_is_lacking_is_noticed() {
        assert_eq!(parse(br#"{"run": "[{}]"}"#).unwrap().refused, Some("native steps (`run`)"));
        assert_eq!(parse(br#"{"inputs": [], "secrets": {}}"#).unwrap().refused, None);
        let has_secrets = |body: &[u8]| parse(body).unwrap().has_secrets;
        assert!(
            has_secrets(br#"{"secrets": {}}"#)
                && !has_secrets(br#"{"secrets": null}"#)
                && !has_secrets(b"{}")
        );
        assert!(parse(br#"{"run": null}"#).is_err());
    }
}
