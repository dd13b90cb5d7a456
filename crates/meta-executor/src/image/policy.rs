//! Which pull policies apply to an image (gitlab-runner: `common/config.go`, `GetDockerPullPolicies`).

use meta_core::executor_settings::PullPolicy;

/// The policies to try, in order, or the text of docker's error when the job asks for what is not allowed.
pub(crate) fn effective(
    image: &str,
    job: &[String],
    configured: &[PullPolicy],
    allowed: &[PullPolicy],
) -> Result<Vec<PullPolicy>, String> {
    let (source, wanted): (_, Vec<&str>) = match (job, configured) {
        ([], []) => ("Runner config (default)", vec![PullPolicy::Always.as_str()]),
        ([], _) => ("Runner config", configured.iter().map(|policy| policy.as_str()).collect()),
        _ => ("GitLab pipeline config", job.iter().map(String::as_str).collect()),
    };
    let effective: Vec<PullPolicy> = wanted
        .iter()
        .filter_map(|word| PullPolicy::from_word(word))
        .filter(|policy| allowed.contains(policy))
        .collect();
    if effective.is_empty() {
        let allowed = join(allowed);
        let wanted = wanted.join(" ");
        return Err(format!(
            "invalid pull policy for image \"{image}\": pull_policy ([{wanted}]) defined in {source} is not one of the allowed_pull_policies ([{allowed}])"
        ));
    }
    Ok(effective)
}

/// As docker's log lists them.
pub(crate) fn join(policies: &[PullPolicy]) -> String {
    policies.iter().map(|policy| policy.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use PullPolicy::{Always, IfNotPresent, Never};

    #[test]
    fn the_job_chooses_among_what_is_allowed() {
        let ask = |job: &[&str], allowed: &[PullPolicy]| {
            let job: Vec<String> = job.iter().map(|&word| word.to_owned()).collect();
            effective("x", &job, &[], allowed)
        };
        assert_eq!(ask(&[], &[Always]), Ok(vec![Always]));
        assert_eq!(ask(&["always", "always"], &[Always]), Ok(vec![Always, Always]), "a second try");
        assert_eq!(ask(&["never", "if-not-present"], &[IfNotPresent, Never]), Ok(vec![Never, IfNotPresent]));
        assert_eq!(
            ask(&["never"], &[Always]),
            Err("invalid pull policy for image \"x\": pull_policy ([never]) defined in GitLab pipeline config is not one of the allowed_pull_policies ([always])".to_owned())
        );
        for (configured, source) in [(&[][..], "Runner config (default)"), (&[Always], "Runner config")] {
            let error = effective("x", &[], configured, &[Never]).unwrap_err();
            assert!(error.contains(&format!("([always]) defined in {source} is not one")), "{error}");
        }
    }
}
