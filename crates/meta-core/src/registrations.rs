//! The format of `NAME.registrations.toml` and of the reference's `NAME.tokens` (contracts, section 1).
//!
//! Problems name a line and never quote it: the line may hold a token.

use std::collections::BTreeMap;

use toml_edit::{Document, DocumentMut, Item, Table, TableLike};

use crate::name::InstanceName;
use crate::secret::Secret;

/// What we keep of the runners that we registered.
pub type Registrations = BTreeMap<InstanceName, Registration>;

/// One runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// GitLab's id of the runner.
    pub id: u64,
    /// The runner's authentication token.
    pub token: Secret,
    /// ISO 8601; None if it was not written down.
    pub token_issued_at: Option<String>,
    /// ISO 8601; None: never.
    pub token_expires_at: Option<String>,
}

/// The file is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct RegistrationsError {
    line: usize,
    message: String,
    is_newer: bool,
}

impl RegistrationsError {
    /// What to do where a later version of these programs wrote the file: nothing is wrong with it then.
    pub fn hint(&self) -> Option<String> {
        let hint = "a newer gitlab-meta-runner wrote it: use that one, here too, and leave the file as it is";
        self.is_newer.then(|| hint.to_owned())
    }
}

/// The only version there is.
const VERSION: i64 = 1;

/// Reads `NAME.registrations.toml`.
///
/// # Errors
/// The first thing that is wrong; a file that is half understood would lose runners.
pub fn parse(text: &str) -> Result<Registrations, RegistrationsError> {
    let document = parse_toml(text)?;
    let version = document.get("version");
    if version.and_then(Item::as_integer) != Some(VERSION) {
        return Err(match version {
            None => {
                let message = format!("`version = {VERSION}` is missing");
                RegistrationsError { line: 1, message, is_newer: false }
            }
            Some(item) => {
                let found = item.to_string();
                let message = format!("the version is {}, and this program knows {VERSION}", found.trim());
                let is_newer = item.as_integer().is_some_and(|version| version > VERSION);
                RegistrationsError { is_newer, ..problem(item, text, message) }
            }
        });
    }
    match document.get("registrations") {
        None => Ok(Registrations::new()),
        Some(item) => match item.as_table_like() {
            Some(table) => read_all(table, text),
            None => Err(problem(item, text, "`registrations` is not a table".to_owned())),
        },
    }
}

/// Reads the reference system's `NAME.tokens`: a table per instance with `id` and `token`.
///
/// # Errors
/// As [`parse`].
pub fn parse_reference(text: &str) -> Result<Registrations, RegistrationsError> {
    read_all(parse_toml(text)?.as_table(), text)
}

/// The text of `NAME.registrations.toml`; equal for equal registrations.
pub fn render(registrations: &Registrations) -> String {
    let mut all = Table::new();
    all.set_implicit(true);
    for (name, registration) in registrations {
        let mut table = Table::new();
        // GitLab's ids are signed 64-bit integers themselves.
        table.insert("id", i64::try_from(registration.id).unwrap_or(i64::MAX).into());
        table.insert("token", registration.token.reveal().into());
        let times = [
            ("token_issued_at", &registration.token_issued_at),
            ("token_expires_at", &registration.token_expires_at),
        ];
        for (key, time) in times {
            if let Some(time) = time {
                table.insert(key, time.into());
            }
        }
        all.insert(name.as_str(), Item::Table(table));
    }
    let mut document = DocumentMut::new();
    document["version"] = VERSION.into();
    document["registrations"] = Item::Table(all);
    document.to_string()
}

fn parse_toml(text: &str) -> Result<Document<&str>, RegistrationsError> {
    Document::parse(text).map_err(|error| RegistrationsError {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: "not TOML".to_owned(),
        is_newer: false,
    })
}

fn read_all(table: &dyn TableLike, text: &str) -> Result<Registrations, RegistrationsError> {
    table.iter().map(|(key, item)| read_one(key, item, text)).collect()
}

fn read_one(key: &str, item: &Item, text: &str) -> Result<(InstanceName, Registration), RegistrationsError> {
    let name = key.parse().map_err(|error| problem(item, text, format!("{error}")))?;
    let wrong =
        |field: &str| problem(item, text, format!("`{field}` of `{key}` is missing or has the wrong type"));
    let field = |field: &str| item.as_table_like().and_then(|table| table.get(field));
    let text = |key: &str| match field(key) {
        Some(item) => item.as_str().map(str::to_owned).map(Some).ok_or_else(|| wrong(key)),
        None => Ok(None),
    };
    let registration = Registration {
        id: field("id")
            .and_then(Item::as_integer)
            .and_then(|id| u64::try_from(id).ok())
            .ok_or_else(|| wrong("id"))?,
        token: field("token").and_then(Item::as_str).map(Secret::new).ok_or_else(|| wrong("token"))?,
        token_issued_at: text("token_issued_at")?,
        token_expires_at: text("token_expires_at")?,
    };
    Ok((name, registration))
}

fn problem(item: &Item, text: &str, message: String) -> RegistrationsError {
    let line = line_of(text, item.span().map_or(0, |span| span.start));
    RegistrationsError { line, message, is_newer: false }
}

fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn registrations() -> Registrations {
        let registration = |id, expiry: Option<&str>| Registration {
            id,
            token: Secret::new("glrt-t3_example"),
            token_issued_at: expiry.map(|_| "2026-10-01T00:00:00Z".to_owned()),
            token_expires_at: expiry.map(str::to_owned),
        };
        BTreeMap::from([
            ("small.node".parse().unwrap(), registration(4712, None)),
            ("big-node".parse().unwrap(), registration(4711, Some("2026-12-31T00:00:00Z"))),
        ])
    }

    #[test]
    fn the_file_is_sorted_and_reads_back() {
        let text = render(&registrations());
        expect![[r#"
            version = 1

            [registrations.big-node]
            id = 4711
            token = "glrt-t3_example"
            token_issued_at = "2026-10-01T00:00:00Z"
            token_expires_at = "2026-12-31T00:00:00Z"

            [registrations."small.node"]
            id = 4712
            token = "glrt-t3_example"
        "#]]
        .assert_eq(&text);
        assert_eq!(parse(&text), Ok(registrations()));
        assert_eq!(parse(&render(&Registrations::new())), Ok(Registrations::new()));
    }

    #[test]
    fn the_reference_s_file_is_understood() {
        let read = parse_reference("[big-node]\nid = 7\ntoken = \"glrt-x\"\n").unwrap();
        assert_eq!(read[&"big-node".parse().unwrap()].id, 7);
    }

    #[test]
    fn a_newer_file_is_not_to_be_thrown_away() {
        let hint = |text: &str| parse(text).unwrap_err().hint().is_some();
        assert_eq!(
            ["version = 2", "version = 0", "version = \"2\"", ""].map(hint),
            [true, false, false, false]
        );
    }

    #[test]
    fn problems_name_the_line_and_quote_nothing() {
        let check = |text: &str, message: &str| assert_eq!(parse(text).unwrap_err().to_string(), message);
        check("version = 1\n[registrations.a]\ntoken = \"glrt-secret\nid = 1\n", "line 3: not TOML");
        check("\nversion = 2\n", "line 2: the version is 2, and this program knows 1");
        check("[registrations]\n", "line 1: `version = 1` is missing");
        check(
            "version = 1\n[registrations.a]\nid = 1\n",
            "line 2: `token` of `a` is missing or has the wrong type",
        );
        check(
            "version = 1\n[registrations.a]\nid = \"1\"\ntoken = \"glrt-secret\"\n",
            "line 2: `id` of `a` is missing or has the wrong type",
        );
        check(
            "version = 1\n[registrations.a]\nid = 1\ntoken = \"glrt-secret\"\ntoken_issued_at = 2026\n",
            "line 2: `token_issued_at` of `a` is missing or has the wrong type",
        );
    }
}
