//! From our template syntax to the one of `subst`.

use std::ops::Range;

/// A checked template.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) template: subst::TemplateBuf,
    pub(super) variables: Vec<Found>,
}

/// A variable in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    /// Where it stands in our text, `$` and braces included.
    pub(super) range: Range<usize>,
    /// Where its name stands in the text made for `subst`, which is how `subst` names it in errors.
    pub(super) position: usize,
}

/// A piece of text that is neither a variable nor something to leave alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    pub(super) hint: String,
}

/// Parses `$NAME`, `${NAME}`, `${NAME:default}`, `$$` and `\$`; the rest is literal.
pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxError> {
    let mut translation =
        Translation { text, at: 0, out: String::with_capacity(text.len()), variables: Vec::new() };
    translation.literal_until(Level::Top)?;
    let template = subst::TemplateBuf::from_string(translation.out).map_err(|error| SyntaxError {
        range: 0..text.len(),
        message: error.to_string(),
        hint: "write `$$` for a dollar sign".to_owned(),
    })?;
    Ok(Parsed { template, variables: translation.variables })
}

/// Where a literal ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// At the end of the text.
    Top,
    /// At the brace that closes a default.
    Default,
}

struct Translation<'a> {
    text: &'a str,
    at: usize,
    out: String,
    variables: Vec<Found>,
}

impl Translation<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn literal_until(&mut self, level: Level) -> Result<(), SyntaxError> {
        let mut open_braces = 0_usize;
        while let Some(c) = self.rest().chars().next() {
            match c {
                '$' => self.dollar()?,
                // `\$` is a dollar. In `\$$` the second half is one already, and the backslash stays.
                '\\' if self.rest().starts_with(r"\$") && !self.rest().starts_with(r"\$$") => {
                    self.push_literal('$', 2);
                }
                '}' if level == Level::Default && open_braces == 0 => return Ok(()),
                _ => {
                    match c {
                        '{' => open_braces += 1,
                        '}' => open_braces = open_braces.saturating_sub(1),
                        _ => {}
                    }
                    self.push_literal(c, c.len_utf8());
                }
            }
        }
        Ok(())
    }

    fn push_literal(&mut self, c: char, consumed: usize) {
        if matches!(c, '\\' | '$' | '{' | '}') {
            self.out.push('\\');
        }
        self.out.push(c);
        self.at += consumed;
    }

    fn dollar(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with("$$") {
            self.push_literal('$', 2);
        } else if let Some(braced) = rest.strip_prefix("${") {
            if let Some(length) = positional(braced) {
                self.verbatim(2 + length + 1);
            } else {
                self.braced(start)?;
            }
        } else {
            match name_length(&rest[1..]) {
                0 => self.push_literal('$', 1),
                length => {
                    self.open_variable(start, 1, length);
                    self.out.push('}');
                    self.variable_ends(start);
                }
            }
        }
        Ok(())
    }

    /// `${NAME}` or `${NAME:default}`; everything else that begins with `${` is refused.
    fn braced(&mut self, start: usize) -> Result<(), SyntaxError> {
        let length = name_length(&self.text[start + 2..]);
        let after = &self.text[start + 2 + length..];
        let shell_operator = after.starts_with([':']) && after[1..].starts_with(['-', '=', '?', '+']);
        if length == 0 || shell_operator || !(after.is_empty() || after.starts_with(['}', ':'])) {
            return Err(self.not_ours(start));
        }
        self.open_variable(start, 2, length);
        let this = self.variables.len() - 1;
        if self.rest().starts_with(':') {
            self.out.push(':');
            self.at += 1;
            self.literal_until(Level::Default)?;
        }
        if self.rest().is_empty() {
            return Err(SyntaxError {
                range: start..start + 2 + length,
                message: format!("`{}` is not closed", &self.text[start..start + 2 + length]),
                hint: "write the closing `}`, or `$$` for a dollar sign".to_owned(),
            });
        }
        self.out.push('}');
        self.at += 1;
        self.variables[this].range.end = self.at;
        Ok(())
    }

    fn open_variable(&mut self, start: usize, sigil: usize, length: usize) {
        let name = &self.text[start + sigil..start + sigil + length];
        self.out.push_str("${");
        let position = self.out.len();
        self.out.push_str(name);
        self.variables.push(Found { name: name.to_owned(), range: start..start, position });
        self.at = start + sigil + length;
    }

    fn variable_ends(&mut self, start: usize) {
        if let Some(found) = self.variables.last_mut() {
            found.range = start..self.at;
        }
    }

    fn verbatim(&mut self, length: usize) {
        for c in self.text[self.at..self.at + length].chars() {
            self.push_literal(c, c.len_utf8());
        }
    }

    fn not_ours(&self, start: usize) -> SyntaxError {
        let rest = &self.text[start..];
        let end = rest.find('}').map_or_else(|| rest.lines().next().map_or(0, str::len), |end| end + 1);
        let name = 2 + name_length(&rest[2..]);
        // A default may be a password.
        let found = match crate::secret::is_secret_key(&rest[2..name]) {
            true => format!("{}...}}", &rest[..name]),
            false => rest[..end].to_owned(),
        };
        SyntaxError {
            range: start..start + end,
            message: format!("`{found}` is neither `${{NAME}}` nor `${{NAME:default}}`"),
            hint: format!("write `${found}` to leave it to the shell"),
        }
    }
}

/// The length of a variable's name at the start of the text; 0 where there is none. A shell's `$1` is none.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of a shell's positional or special parameter in braces (`1`, `@`, `?`): like `$1` it is the shell's.
fn positional(braced: &str) -> Option<usize> {
    let (name, _) = braced.split_once('}')?;
    let special = name.len() == 1 && name.contains(['@', '*', '#', '?', '-', '$', '!']);
    let numbered = !name.is_empty() && name.chars().all(|c| c.is_ascii_digit());
    (special || numbered).then_some(name.len())
}
