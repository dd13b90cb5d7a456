//! Which GitLab, whose jobs, and with which token.

use crate::config::Scope;
use crate::reader::Section;
use crate::secret::Secret;
use crate::template::{Template, Use};

const NO_USER: &str = "leave it out: the management token is all that GitLab asks for";

/// `url`, or `https://` and `hostname`; without a slash at the end.
pub(super) fn read_url(root: &Section<'_>) -> Option<String> {
    let url = root.string("url");
    let hostname = root.string("hostname");
    match (url, hostname) {
        (Some(_), Some((_, span))) => {
            root.reader().problem(
                span,
                "`url` and `hostname` say the same thing".to_owned(),
                "remove `hostname`",
            );
            None
        }
        (Some((url, span)), None) => {
            if url.contains('@') {
                root.reader().problem(
                    span,
                    "`url` has a user in it, and perhaps a password".to_owned(),
                    NO_USER,
                );
                return None;
            }
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' '])) {
                let hint = "write scheme, host and, where there are any, port and path: `url = \"https://gitlab.example.com\"`";
                root.reader().problem(span, format!("`{url}` is not the address of a GitLab"), hint);
                return None;
            }
            let url = url.trim_end_matches('/');
            if let Some(without) = url.strip_suffix("/api/v4") {
                let message = format!("`{url}` is the address of the API, and not of a GitLab");
                root.reader().problem(span, message, &format!("write `url = \"{without}\"`"));
                return None;
            }
            Some(url.to_owned())
        }
        (None, Some((host, span))) => {
            if host.contains('@') {
                let message = "`hostname` has a user in it, and perhaps a password".to_owned();
                root.reader().problem(span, message, NO_USER);
                return None;
            }
            if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
                let hint = "write the host, with a port if it needs one: `hostname = \"gitlab.example.com\"`; a whole address goes into `url`";
                root.reader().problem(span, format!("`{host}` is not the name of a host"), hint);
                return None;
            }
            Some(format!("https://{host}"))
        }
        (None, None) => {
            if root.get("url").is_none() && root.get("hostname").is_none() {
                root.missing(
                    "hostname",
                    "write `hostname = \"gitlab.example.com\"`, or `url = \"https://...\"`",
                );
            }
            None
        }
    }
}

/// `project` and `projects` together, or `group`.
pub(super) fn read_scope(root: &Section<'_>) -> Option<Scope> {
    let project = root.string("project");
    let projects = root.strings("projects");
    let group = root.string("group");
    let given = root.get("project").or(root.get("projects")).or(root.get("group")).is_some();
    let paths: Vec<_> = project.into_iter().chain(projects.into_iter().flatten()).collect();
    for (path, span) in paths.iter().chain(&group) {
        if path.split('/').any(str::is_empty) || path.contains([' ', '?', '#', ':']) {
            let hint = "write the path as in the address of its page: `group/project`";
            root.reader().problem(span.clone(), format!("`{path}` is not a path in GitLab"), hint);
        }
    }
    match (paths.is_empty(), group) {
        (false, None) => {
            let mut paths: Vec<String> = paths.into_iter().map(|(path, _)| path).collect();
            paths.sort();
            paths.dedup();
            Some(Scope::Projects(paths))
        }
        (true, Some((group, _))) => Some(Scope::Group(group)),
        (false, Some((_, span))) => {
            let message = "`group` stands beside `project` or `projects`".to_owned();
            root.reader().problem(span, message, "keep one: a group's jobs include those of its projects");
            None
        }
        (true, None) => {
            if !given {
                root.missing(
                    "project",
                    "write `project = \"group/project\"`, or `projects = [...]`, or `group = \"...\"`",
                );
            } else if root
                .get("projects")
                .and_then(|item| item.as_array())
                .is_some_and(toml_edit::Array::is_empty)
            {
                let span = root.get("projects").and_then(toml_edit::Item::span);
                let hint = "write at least one: `projects = [\"group/project\"]`";
                root.reader().problem(span, "`projects` is empty".to_owned(), hint);
            }
            None
        }
    }
}

/// The token, or where it is. Neither is fine: it may come from the environment.
pub(super) struct Token {
    pub(super) inline: Option<Secret>,
    pub(super) file: Option<Template>,
}

pub(super) fn read_token(root: &Section<'_>) -> Token {
    let token = root.string("management_token");
    let file = root.template("management_token_file", Use::Path);
    if let Some((text, span)) = &token {
        if text.trim().is_empty() || text.contains(char::is_whitespace) {
            let hint = "write a token with the scopes read_api, create_runner and manage_runner, or remove the key and set META_RUNNER_MANAGEMENT_TOKEN";
            root.reader().problem(span.clone(), "`management_token` is not a token".to_owned(), hint);
        }
        if file.is_some() {
            let message = "`management_token` stands beside `management_token_file`".to_owned();
            root.reader().problem(span.clone(), message, "remove `management_token`");
        }
    }
    Token { inline: token.map(|(text, _)| Secret::new(text)), file }
}
