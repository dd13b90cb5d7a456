//! Variables in what a job or the configuration writes (gitlab-runner: `common/spec/variables.go`, `ExpandValue`).
//!
//! For what a job may choose freely: where a value must be GitLab's own, `Job::predefined` is asked.

use meta_host::Environment;

use crate::job::Job;

/// Replaces `$NAME` and `${NAME}` by the job's variables; one that is not set becomes nothing, and `$$` a dollar.
pub(crate) fn expand(text: &str, job: &Job, environment: &Environment) -> String {
    expand_with(text, |name| value(name, job, environment).unwrap_or_default().to_owned())
}

/// A job variable as the job's scripts see it. gitlab-runner hands it over expanded, with those of its own configuration.
pub(crate) fn value<'a>(name: &str, job: &'a Job, environment: &'a Environment) -> Option<&'a str> {
    let expanded = environment.variables.get(&format!("CUSTOM_ENV_{name}")).map(String::as_str);
    expanded.or_else(|| job.variable(name))
}

/// Whether gitlab-runner takes this value of a switch as true (Go's `strconv.ParseBool`).
pub(crate) fn is_true(value: &str) -> bool {
    ["1", "t", "true"].contains(&value.to_lowercase().as_str())
}

/// Replaces `$NAME` and `${NAME}` once, as Go's `os.Expand` does: unknown names and the shell's own parameters are empty, `$$` is
/// a dollar, a dollar before anything else stays.
pub(crate) fn expand_with(text: &str, value: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        out.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        let (name, behind) = name_of(rest);
        match name {
            Some("$") => out.push('$'),
            Some(name) if is_parameter(name) => {}
            Some(name) => out.push_str(&value(name)),
            None => out.push('$'),
        }
        rest = behind;
    }
    out + rest
}

/// The name at the start of `text`, which stood behind a dollar, and what follows. Braces that are not closed are swallowed.
fn name_of(text: &str) -> (Option<&str>, &str) {
    if let Some(braced) = text.strip_prefix('{') {
        return match braced.find('}') {
            Some(end) => (Some(&braced[..end]), &braced[end + 1..]),
            None => (Some("?"), braced),
        };
    }
    let first = text.chars().next();
    if first.is_some_and(|c| c == '$' || c.is_ascii_digit() || is_parameter(&c.to_string())) {
        return (Some(&text[..1]), &text[1..]);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if end == 0 { (None, text) } else { (Some(&text[..end]), &text[end..]) }
}

fn is_parameter(name: &str) -> bool {
    name.is_empty() || name.len() == 1 && name.contains(|c: char| "*#@!?-".contains(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_expanded_once() {
        let value = |name: &str| match name {
            "ARCH" => "arm64".to_owned(),
            "NESTED" => "$ARCH".to_owned(),
            _ => String::new(),
        };
        for (text, expanded) in [
            ("linux/$ARCH", "linux/arm64"),
            ("${ARCH}-${ARCH}.x", "arm64-arm64.x"),
            ("$NESTED", "$ARCH"),
            ("a${MISSING}b$MISSING", "ab"),
            ("$$ARCH costs 1$", "$ARCH costs 1$"),
            // What no shell would take is swallowed, as by Go.
            ("${ARCH", "ARCH"),
            ("a${}x", "ax"),
            ("$1$?$@$-x", "x"),
            ("$ $%", "$ $%"),
            ("", ""),
        ] {
            assert_eq!(expand_with(text, value), expanded, "{text}");
        }
    }
}
