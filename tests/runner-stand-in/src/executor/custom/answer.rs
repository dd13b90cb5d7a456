//! What `config_exec` may answer.

use std::collections::BTreeMap;

use serde::Deserialize;

/// All keys are optional, unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    pub(super) driver: Option<Driver>,
    pub(super) hostname: Option<String>,
    pub(super) builds_dir: Option<String>,
    pub(super) cache_dir: Option<String>,
    pub(super) builds_dir_is_shared: Option<bool>,
    pub(super) job_env: Option<BTreeMap<String, String>>,
    pub(super) shell: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Driver {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
}

/// Reads one JSON object; anything before or after it is an error.
pub(super) fn parse(output: &[u8]) -> Result<Answer, serde_json::Error> {
    serde_json::from_slice(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_job_env_and_trailing_text_are_refused() {
        assert_eq!(
            parse(br#"{"hostname": "h", "other": 1, "shell": null}"#).unwrap().hostname.as_deref(),
            Some("h")
        );
        assert!(parse(br#"{"job_env": {"A": 1}}"#).is_err());
        assert!(parse(b"{} done").is_err());
        assert!(parse(b"\n").is_err());
    }
}
