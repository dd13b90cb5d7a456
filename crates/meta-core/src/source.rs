//! A text file with its path, and problems that point into it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::redaction::{first_secret, redact_users};
use crate::secret::{REDACTED, is_secret_key};

/// A text that was read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it was read.
    pub path: PathBuf,
    /// What was read.
    pub text: String,
}

/// One thing that is wrong, with the place and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Byte range in the text; `None` points to the file as a whole.
    pub span: Option<Range<usize>>,
    /// A lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Everything that is wrong with one file, in the order of the file. `Display` is the whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    source: SourceFile,
    list: Vec<Problem>,
}

impl Problems {
    /// Orders the problems by their place.
    pub fn new(source: SourceFile, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        Self { source, list }
    }

    /// The problems, in the order of the file.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Each of them with its place and hint, and without saying how bad it is.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|problem| Text(problem, &self.source).to_string())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.texts().enumerate() {
            let between = if index > 0 { "\n\n" } else { "" };
            write!(f, "{between}error: {text}")?;
        }
        Ok(())
    }
}

/// One problem with its place and hint.
struct Text<'a>(&'a Problem, &'a SourceFile);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_users(&self.0.message))?;
        write_place(f, self.1, self.0.span.as_ref())?;
        match &self.0.hint {
            Some(hint) => write!(f, "\nhint: {}", redact_users(hint)),
            None => Ok(()),
        }
    }
}

/// Writes the place and, where there is one, the line with carets below it.
fn write_place(f: &mut fmt::Formatter<'_>, source: &SourceFile, span: Option<&Range<usize>>) -> fmt::Result {
    let path = source.path.display();
    let Some(span) = span else {
        return write!(f, "\n  --> {path}");
    };
    let marked = MarkedLine::find(&source.text, span);
    let number = marked.line_number.to_string();
    let margin = " ".repeat(number.len());
    write!(f, "\n{margin} --> {path}:{number}:{}", marked.column)?;
    write!(
        f,
        "\n{margin} |\n{number} | {}\n{margin} | {}{}",
        marked.line,
        marked.indent,
        "^".repeat(marked.carets)
    )
}

/// Where a span begins, for people: lines and columns count from 1, columns in characters.
struct MarkedLine<'a> {
    line_number: usize,
    column: usize,
    line: Cow<'a, str>,
    /// As wide as what stands before the carets, tabs kept, so that the carets stand right.
    indent: String,
    carets: usize,
}

impl<'a> MarkedLine<'a> {
    fn find(text: &'a str, span: &Range<usize>) -> Self {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let (shown, hidden) = without_secret(line);
        let line_number = text[..line_start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        // What is marked is hidden: the name of the secret is marked instead.
        let span = match hidden {
            Some(hidden) if start - line_start >= hidden.secret_start => {
                line_start + hidden.name.start..line_start + hidden.name.end
            }
            Some(hidden) => start..span.end.min(line_start + hidden.secret_start),
            None => start..span.end,
        };
        let before = &line[..span.start - line_start];
        let marked = line.len().min(span.end.saturating_sub(line_start)).max(before.len());
        // A span may end inside of a character only if it came from outside; then one caret is enough.
        let carets = line.get(before.len()..marked).map_or(1, |marked| marked.trim_end().chars().count());
        Self {
            line_number,
            column,
            line: shown,
            indent: before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect(),
            carets: carets.max(1),
        }
    }
}

/// What is not shown of a line.
struct Hidden {
    /// The key or word that says so.
    name: Range<usize>,
    /// From here on.
    secret_start: usize,
}

/// The line up to its first secret. A value without `=` in front is one, too: that is what a broken line may look like.
fn without_secret(line: &str) -> (Cow<'_, str>, Option<Hidden>) {
    let start = line.len() - line.trim_start().len();
    let key_end = line[start..].find(['=', ' ', '\t']).map_or(line.len(), |length| start + length);
    let key = line[start..key_end].rsplit('.').next().unwrap_or_default().trim_matches(['"', '\'']);
    let is_secret = is_secret_key(key) || (key == "hostname" && line.contains('@'));
    if is_secret && !line[key_end..].trim().is_empty() {
        let shown = format!("{} = {REDACTED}", &line[..key_end]);
        return (shown.into(), Some(Hidden { name: start..key_end, secret_start: key_end }));
    }
    match first_secret(line) {
        Some(found) => {
            let shown = format!("{}{REDACTED}", &line[..found.secret.start]);
            // An address has no name of its own: the key of the line stands for it.
            let name = if found.name.is_empty() { start..key_end } else { found.name };
            (shown.into(), Some(Hidden { name, secret_start: found.secret.start }))
        }
        None => (line.into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, marked: &str) -> String {
        let start = text.find(marked).unwrap();
        let problem =
            Problem { span: Some(start..start + marked.len()), message: "m".to_owned(), hint: None };
        let source = SourceFile { path: "a.toml".into(), text: text.to_owned() };
        Problems::new(source, vec![problem]).to_string()
    }

    #[test]
    fn carets_stand_below_what_is_meant() {
        assert_eq!(
            report("a = 1\nb = \"ä\" # x\n", "\"ä\""),
            "error: m\n  --> a.toml:2:5\n  |\n2 | b = \"ä\" # x\n  |     ^^^"
        );
        assert_eq!(report("\tü\tb", "b"), "error: m\n  --> a.toml:1:4\n  |\n1 | \tü\tb\n  | \t \t^");
        assert_eq!(
            report("a = [\n1,\n]", "[\n1,\n]"),
            "error: m\n  --> a.toml:1:5\n  |\n1 | a = [\n  |     ^"
        );
    }

    #[test]
    fn a_span_at_the_end_of_the_file_has_a_caret() {
        let problem = Problem { span: Some(3..3), message: "m".to_owned(), hint: Some("h".to_owned()) };
        let source = SourceFile { path: "a.toml".into(), text: "a =".to_owned() };
        let report = Problems::new(source, vec![problem]).to_string();
        assert_eq!(
            report,
            "error: m\n --> a.toml:1:4\n  |\n1 | a =\n  |    ^\nhint: h".replace("\n -->", "\n  -->")
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        for line in [
            "management_token = \"glpat-1\"",
            "management_token \"glpat-1\"",
            "runner.token=\"glpat-1\"",
            "url = \"https://me:glpat-1@host\" # \"glpat-1\"",
            "hostname = \"glpat-1@host\" # \"glpat-1\"",
            "hostname = \"oauth2:glpat-1@host\" # \"glpat-1\"",
            "environment = [\"DB_PASSWORD=glpat-1\", \"glpat-1\"]",
            "runners = { a = { config_variables = { API_TOKEN = \"glpat-1\" }, typo = \"glpat-1\" } }",
        ] {
            let report = report(line, "\"glpat-1\"");
            assert!(report.contains("<redacted>") && !report.contains("glpat-1"), "{report}");
        }
        assert!(report("management_token_file = 1", "1").contains("= 1"));
    }
}
