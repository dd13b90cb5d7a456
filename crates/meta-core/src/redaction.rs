//! Secrets inside a text, found by what stands around them: reports end up in mails and in tickets.

use std::ops::Range;
use std::sync::LazyLock;

use regex_lite::Regex;

use crate::secret::{REDACTED, is_secret_key};

/// `NAME=`, `"name" = `, `NAME: ` and `--name `: what a value stands behind, in shells, TOML and headers.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?<name>[A-Za-z_-][A-Za-z0-9_.-]*)["']?(?<link>[ \t]*=[ \t]*|:[ \t]+|[ \t]+)"#)
        .expect("a test uses it")
});

/// User and password in an address, and in what stands where a host is meant.
static USER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?:://(?<user>[^\s"'@]+)|(?<bare>[^\s"'/:@=]+:[^\s"'/@]+))@(?<host>[^\s"']*)"#)
        .expect("a test uses it")
});

/// The first secret of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What tells that it is one: a name, or nothing in an address.
    pub(crate) name: Range<usize>,
    pub(crate) secret: Range<usize>,
}

/// The text with `<redacted>` in place of what is secret: values behind telling names (see [`is_secret_key`]), and users
/// and passwords in addresses. A name alone, and what a shell will put in (`$(cat token)`), stay.
pub fn redact(text: &str) -> String {
    replace_all(text, first_secret)
}

/// The text with `<redacted>` in place of users and passwords in addresses.
pub(crate) fn redact_users(text: &str) -> String {
    replace_all(text, first_user)
}

fn replace_all(text: &str, first: fn(&str) -> Option<Found>) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(found) = first(rest) {
        shown.push_str(&rest[..found.secret.start]);
        shown.push_str(REDACTED);
        rest = &rest[found.secret.end..];
    }
    shown + rest
}

pub(crate) fn first_secret(text: &str) -> Option<Found> {
    [first_named(text), first_user(text)].into_iter().flatten().min_by_key(|found| found.secret.start)
}

fn first_named(text: &str) -> Option<Found> {
    NAMED.captures_iter(text).find_map(|found| {
        let (name, link) = (found.name("name")?, found.name("link")?);
        let last = name.as_str().rsplit('.').next().unwrap_or_default();
        // Behind a mere space only an option has its value.
        let has_value = !link.as_str().trim().is_empty() || name.as_str().starts_with("--");
        let secret = link.end()..link.end() + value_length(&text[link.end()..]);
        (has_value && is_secret_key(last) && !secret.is_empty()).then(|| Found { name: name.range(), secret })
    })
}

fn first_user(text: &str) -> Option<Found> {
    USER.captures_iter(text).find_map(|found| {
        let secret = found.name("user").or_else(|| found.name("bare"))?.range();
        // An image with its digest.
        let is_image = found.name("host")?.as_str().starts_with("sha256:");
        (!is_image).then_some(Found { name: secret.start..secret.start, secret })
    })
}

/// A quoted value with its quotes, a word without; nothing where a shell puts a command's output in.
fn value_length(text: &str) -> usize {
    if text.starts_with("$(") {
        return 0;
    }
    match text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => {
            let mut escaped = false;
            let end = text.char_indices().skip(1).find(|(_, c)| {
                let ends = *c == quote && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or_else(|| text.lines().next().map_or(0, str::len), |(end, _)| end + 1)
        }
        None => text.find(|c: char| c.is_whitespace() || "\"';&|)".contains(c)).unwrap_or(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_behind_telling_names_go() {
        for (text, shown) in [
            (
                "--export=ALL,API_TOKEN=abc,B=1 --partition=p",
                "--export=ALL,API_TOKEN=<redacted> --partition=p",
            ),
            ("export DB_PASSWORD=\"a b\" # x", "export DB_PASSWORD=<redacted> # x"),
            ("a = 1\nSECRET='x\\'\ny=2", "a = 1\nSECRET=<redacted>\ny=2"),
            ("{ API_TOKEN = \"x\", A = \"b\" }", "{ API_TOKEN = <redacted>, A = \"b\" }"),
            ("\"api.token\"= \"x\"", "\"api.token\"= <redacted>"),
            ("curl -H \"PRIVATE-TOKEN: x\" h", "curl -H \"PRIVATE-TOKEN: <redacted>\" h"),
            ("register --token x --url y", "register --token <redacted> --url y"),
            ("https://h/?private_token=x&y=1", "https://h/?private_token=<redacted>&y=1"),
            ("PASSWORD=\"never closed\nnext", "PASSWORD=<redacted>\nnext"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }

    #[test]
    fn users_in_addresses_go() {
        for (text, shown) in [
            ("https_proxy=http://u:pw@proxy:80", "https_proxy=http://<redacted>@proxy:80"),
            ("git clone https://oauth2:x@h/a.git y@z", "git clone https://<redacted>@h/a.git y@z"),
            ("hostname = \"oauth2:glpat-1@h\"", "hostname = \"<redacted>@h\""),
            ("ftp://u:a/b@h", "ftp://<redacted>@h"),
        ] {
            assert_eq!((redact(text), redact_users(text)), (shown.to_owned(), shown.to_owned()));
        }
    }

    #[test]
    fn the_rest_stays() {
        for text in [
            "the token of this = x",
            "get a token and call `make`",
            "TOKEN=$(cat ~/.token) run",
            "management_token_file = \"~/token\"",
            "/secrets:/secrets:ro",
            "git@host:group/project",
            "docker.io/library/debian:12@sha256:abc https://h/i:1@sha256:abc",
            "PASSWORD=",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
