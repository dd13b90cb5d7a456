//! Job logs as people read them.

/// The text of one line of a job log: without time stamps, section marks, colours and what a carriage return wrote over.
pub(crate) fn readable(line: &str) -> String {
    let line = without_stamp(line).trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or(line);
    let last = without_escapes(last);
    if last.starts_with("section_start:") || last.starts_with("section_end:") { String::new() } else { last }
}

/// The first word behind `mark` in a log.
pub(crate) fn word_after<'a>(log: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = log.split_once(mark)?;
    rest.split_whitespace().next()
}

/// With FF_TIMESTAMPS a line begins with `2026-11-24T04:55:06.031813Z 00O ` (time, stream, and `+` for a continued line).
fn without_stamp(line: &str) -> &str {
    let is_stamp = |stamp: &str| stamp.as_bytes()[10] == b'T' && stamp.as_bytes()[26..28] == *b"Z ";
    match line.split_at_checked(32) {
        Some((stamp, rest)) if stamp.is_ascii() && is_stamp(stamp) => rest,
        _ => line,
    }
}

/// Control sequences are `ESC [`, parameters, and a letter.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean +=
            part.trim_start_matches(|sign: char| !sign.is_ascii_alphabetic()).get(1..).unwrap_or_default();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::{readable, word_after};

    #[test]
    fn marks_and_colours_are_gone() {
        let check = |line: &str, expected: &str| assert_eq!(readable(line), expected, "{line:?}");
        check(
            "section_start:1790000000:prepare_script\r\u{1b}[0K\u{1b}[0K\u{1b}[36;1mPreparing\u{1b}[0;m",
            "Preparing",
        );
        check("section_end:1790000000:prepare_script", "");
        check("plain\r", "plain");
        check("2026-11-24T04:55:06.031813Z 01E text", "text");
        check("2026-11-24T04:55:06.031952Z 00O+Preparing", "Preparing");
        check("10%\r50%\r100%", "100%");
    }

    #[test]
    fn a_word_is_found_behind_its_mark() {
        assert_eq!(word_after("x\nSlurm job 17 on instance small\n", "Slurm job "), Some("17"));
        assert_eq!(word_after("nothing", "Slurm job "), None);
    }
}
