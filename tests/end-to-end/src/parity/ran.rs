//! A job that has ended, as GitLab has it.

use serde_json::Value;

/// What came of a job. The checks panic with the whole log.
#[derive(Clone, Debug)]
pub struct Ran {
    pub name: String,
    pub status: String,
    /// Empty unless it failed.
    pub reason: String,
    pub code: Option<i64>,
    /// The log as people see it: without time stamps, colours and section marks.
    pub log: String,
    /// The log as it was sent.
    pub trace: String,
    /// `filename`, `type`, `format`, `size`, `expire_in` of each upload.
    pub artifacts: Vec<Value>,
}

impl Ran {
    /// From what the GitLab stand-in tells of a job.
    pub fn of(job: &Value) -> Self {
        let text = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
        let trace = text("trace");
        Self {
            name: text("name"),
            status: text("status"),
            reason: text("failure_reason"),
            code: job["exit_code"].as_i64(),
            log: readable(&trace),
            trace,
            artifacts: job["artifacts"].as_array().cloned().unwrap_or_default(),
        }
    }

    pub fn passes(self) -> Self {
        assert_eq!(self.status, "success", "{self}");
        self
    }

    /// Failed by its script, with this exit code.
    pub fn fails(self, code: i64) -> Self {
        let found = (self.status.as_str(), self.reason.as_str(), self.code);
        assert_eq!(found, ("failed", "script_failure", Some(code)), "{self}");
        self
    }

    pub fn fails_as(self, reason: &str) -> Self {
        assert_eq!((self.status.as_str(), self.reason.as_str()), ("failed", reason), "{self}");
        self
    }

    pub fn is_canceled(self) -> Self {
        assert_eq!(self.status, "canceled", "{self}");
        self
    }

    /// A line of the log.
    pub fn says(self, line: &str) -> Self {
        assert!(self.log.lines().any(|other| other == line), "no line `{line}` in {self}");
        self
    }

    /// A part of the log.
    pub fn shows(self, text: &str) -> Self {
        assert!(self.log.contains(text), "`{text}` is not in {self}");
        self
    }

    /// Nowhere in the log, neither as people see it nor as it was sent.
    pub fn hides(self, text: &str) -> Self {
        assert!(!self.log.contains(text) && !self.trace.contains(text), "`{text}` is in {self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, status, reason, code, log, .. } = self;
        write!(f, "job `{name}`: {status} {reason} {code:?}\n{log}")
    }
}

/// Length of `2026-11-24T11:15:00.000000Z 01O `.
const STAMP: usize = 32;

/// Takes off what FF_TIMESTAMPS, colours and sections put around the text.
fn readable(trace: &str) -> String {
    let mut text = String::new();
    for line in trace.split_inclusive('\n') {
        let (stamp, rest) = match line.get(..STAMP) {
            Some(stamp) if is_stamp(stamp) => (stamp, &line[STAMP..]),
            _ => ("", line),
        };
        // `+` says that the line goes on where the one before broke off.
        if stamp.ends_with('+') && text.ends_with('\n') {
            text.pop();
        }
        text.push_str(&without_marks(rest));
    }
    text
}

fn is_stamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes[4] == b'-' && bytes[10] == b'T' && bytes[26] == b'Z' && matches!(bytes[STAMP - 1], b' ' | b'+')
}

/// Without `\x1b[...m`-like sequences and `section_start:1:name\r`.
fn without_marks(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        text.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |at| at + 1);
        rest = &after[end..];
    }
    text.push_str(rest);
    while let Some(start) = text.find("section_start:").or_else(|| text.find("section_end:")) {
        let Some(length) = text[start..].find('\r') else { break };
        text.replace_range(start..=start + length, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn the_log_is_what_people_see() {
        let trace = "2026-11-24T11:15:00.000000Z 01O one, \n2026-11-24T11:15:00.100000Z 01O+still one\n\
                     2026-11-24T11:15:00.200000Z 00O section_start:1764000000:step_script\r\x1b[0K\x1b[0K\x1b[36;1mtitle\x1b[0;m\n\
                     without a stamp\n";
        assert_eq!(readable(trace), "one, still one\ntitle\nwithout a stamp\n");
    }
}
