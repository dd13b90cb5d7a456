//! What test programs counted, from their output.

use std::fmt;

/// `Display` is the end of a test run: the skips with their reasons, then `N passed, N failed, N skipped`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: u32,
    pub(super) failed: u32,
    skipped: u32,
    skips: Vec<String>,
}

impl Tally {
    /// Takes in a line of a test program.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(skip) = skip(line) {
            self.skips.push(skip);
        }
        for (number, kind) in counts(line) {
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for skip in &self.skips {
            writeln!(formatter, "skipped: {skip}")?;
        }
        writeln!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Name and reason of `test NAME ... ignored, REASON`, or with the reason in brackets as the suites of the bed print it.
fn skip(line: &str) -> Option<String> {
    let (name, end) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let in_brackets = || end.strip_prefix(" (")?.strip_suffix(')');
    let reason = end.strip_prefix(", ").or_else(in_brackets).unwrap_or("no reason given");
    Some(format!("{}: {reason}", name.trim_end()))
}

/// The counts of `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn counts(line: &str) -> impl Iterator<Item = (u32, &str)> {
    let fields = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "));
    fields.into_iter().flat_map(|(_, fields)| fields.split(';')).filter_map(|field| {
        let (number, kind) = field.trim().split_once(' ')?;
        Some((number.parse().ok()?, kind))
    })
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn results_are_added_up_and_skips_listed() {
        let mut tally = Tally::default();
        for line in [
            "test images: pull policies ... ok",
            "test one ... ignored, needs a GPU",
            "test two ... ignored",
            "test levels: three (level A)   ... ignored (needs subordinate ids)",
            "test result: FAILED. 42 passed; 4 failed; 3 ignored; 0 measured; 0 filtered out; finished in 31.10s",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.read(line);
        }
        let expected = [
            "skipped: one: needs a GPU",
            "skipped: two: no reason given",
            "skipped: levels: three (level A): needs subordinate ids",
            "43 passed, 4 failed, 3 skipped\n",
        ];
        assert_eq!(tally.to_string(), expected.join("\n"));
    }
}
