//! Quoting for shells.

/// How a script quotes words: ANSI-C quoting, or with `FF_POSIXLY_CORRECT_ESCAPES` double quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    AnsiC,
    Posix,
}

impl Quoting {
    pub(super) fn escape(self, word: &str) -> String {
        match self {
            _ if word.is_empty() => "''".to_owned(),
            Self::AnsiC => ansi_c(word),
            Self::Posix => posix(word),
        }
    }
}

/// Words of letters, digits and `,-./@_` stay bare; all else becomes `$'...'`, where control characters and everything
/// beyond ASCII is spelled as bytes.
fn ansi_c(word: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b",-./@_".contains(&byte);
    if word.bytes().all(is_bare) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() * 2);
    quoted.push_str("$'");
    for byte in word.bytes() {
        match byte {
            b'\x07' => quoted.push_str("\\a"),
            b'\x08' => quoted.push_str("\\b"),
            b'\t' => quoted.push_str("\\t"),
            b'\n' => quoted.push_str("\\n"),
            b'\x0b' => quoted.push_str("\\v"),
            b'\x0c' => quoted.push_str("\\f"),
            b'\r' => quoted.push_str("\\r"),
            b'\'' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(byte));
            }
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('\'');
    quoted
}

/// Double quotes only where one of these characters asks for them.
fn posix(word: &str) -> String {
    if !word
        .contains(['`', '"', '\\', '$', ' ', '!', '#', '%', '&', '(', ')', '*', '<', '=', '>', '?', '[', '|'])
    {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        if matches!(character, '`' | '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Go's `%q`: double quotes in which a shell still expands variables.
pub(super) fn go_quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ansi_c_quoting() {
        for (word, quoted) in [
            ("", "''"),
            ("a-b/c.d@e_f,1", "a-b/c.d@e_f,1"),
            ("a b", "$'a b'"),
            ("it's\\n\n", "$'it\\'s\\\\n\\n'"),
            ("ü\x1b", "$'\\xc3\\xbc\\x1b'"),
            ("a:b", "$'a:b'"),
        ] {
            assert_eq!(Quoting::AnsiC.escape(word), quoted);
        }
    }

    #[test]
    fn posix_quoting() {
        for (word, quoted) in [("a:b", "a:b"), ("$x `y`", "\"\\$x \\`y\\`\""), ("ü", "ü")] {
            assert_eq!(Quoting::Posix.escape(word), quoted);
        }
    }
}
