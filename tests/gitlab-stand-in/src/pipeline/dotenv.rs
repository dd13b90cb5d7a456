//! The variables of a dotenv report.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::spec::Variable;

/// GitLab's limits: bytes of the file, and variables in it.
const MOST_BYTES: usize = 5 << 10;
const MOST_VARIABLES: usize = 20;

/// Reads a report as it was uploaded. The error is GitLab's message.
pub(crate) fn parse_dotenv(packed: &[u8]) -> Result<Vec<Variable>, &'static str> {
    let mut text = String::new();
    MultiGzDecoder::new(packed).read_to_string(&mut text).map_err(|_| "Invalid Format")?;
    if text.len() > MOST_BYTES {
        return Err("Dotenv Artifact Too Big");
    }
    let lines: Vec<Variable> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| variable(line).ok_or("Invalid Format"))
        .collect::<Result<_, _>>()?;
    if lines.len() > MOST_VARIABLES {
        return Err("Dotenv files cannot have more than 20 variables");
    }
    Ok(lines)
}

/// `KEY=VALUE`; quotes stay part of the value.
fn variable(line: &str) -> Option<Variable> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let valid = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    valid.then(|| Variable { public: false, ..Variable::public(key, value.trim()) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::parse_dotenv;

    fn parsed(text: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let variables = parse_dotenv(&packed.finish().unwrap())?;
        Ok(variables.into_iter().map(|variable| (variable.key, variable.value)).collect())
    }

    #[test]
    fn lines_are_variables_or_the_file_is_refused() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parsed("A=b=c\n\nB=\n"), Ok(vec![pair("A", "b=c"), pair("B", "")]));
        assert_eq!(parsed("no sign"), Err("Invalid Format"));
        assert_eq!(parsed("A-B=1"), Err("Invalid Format"));
        assert_eq!(parsed(&"A=1\n".repeat(21)), Err("Dotenv files cannot have more than 20 variables"));
        assert!(parse_dotenv(b"plain").is_err());
    }
}
