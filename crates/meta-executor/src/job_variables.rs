//! Variables in what a job or the configuration writes (gitlab-runner: `common/spec/variables.go`, `ExpandValue`).
//!
//! For what a job may choose freely: where a value must be GitLab's own, `Job::predefined` is asked.

use meta_host::Environment;

use crate::job::Job;

/// Replaces `$NAME` and `${NAME}` by the job's variables; one that is not set becomes nothing, and `$$` a dollar.
pub(crate) fn expand(text: &str, job: &Job, environment: &Environment) -> String {
    expand_with(text, |name| value(name, job, environment))
}

/// A job variable as the job's scripts see it. gitlab-runner hands it over expanded, with those of its own configuration.
pub(crate) fn value<'a>(name: &str, job: &'a Job, environment: &'a Environment) -> Option<&'a str> {
    let expanded = environment.variables.get(&format!("CUSTOM_ENV_{name}")).map(String::as_str);
    expanded.or_else(|| job.variable(name))
}

fn expand_with<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let (name, behind) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, behind)) => (name, behind),
            None => after.split_at(
                after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()),
            ),
        };
        if name.is_empty() {
            expanded.push('$');
        } else {
            expanded.push_str(value(name).unwrap_or_default());
        }
        rest = behind;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_expanded_once() {
        let value = |name: &str| match name {
            "ARCH" => Some("arm64"),
            "NESTED" => Some("$ARCH"),
            _ => None,
        };
        for (text, expanded) in [
            ("linux/$ARCH", "linux/arm64"),
            ("${ARCH}-${ARCH}.x", "arm64-arm64.x"),
            ("$NESTED", "$ARCH"),
            ("a${MISSING}b$MISSING", "ab"),
            ("$$ARCH costs 1$", "$ARCH costs 1$"),
            ("${ARCH", "${ARCH"),
            ("", ""),
        ] {
            assert_eq!(expand_with(text, value), expanded, "{text}");
        }
    }
}
