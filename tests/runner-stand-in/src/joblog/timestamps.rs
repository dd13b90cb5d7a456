//! The line format of `FF_TIMESTAMPS`: time, stream number and kind, then a blank for a new line or a plus for the
//! rest of the line before.

use std::time::{Duration, SystemTime};

use crate::calendar;

/// Text without a line end is held back up to this size.
const MAX_HELD: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Stamper {
    /// `00O`: stream number in hexadecimal, `O` or `E`.
    stream: String,
    /// An unfinished line, header included.
    held: Vec<u8>,
    /// The next header continues the line before.
    continues: bool,
}

impl Stamper {
    pub(super) fn new(number: u8, letter: char) -> Self {
        Self { stream: format!("{number:02x}{letter}"), held: Vec::new(), continues: false }
    }

    /// Takes the next piece and returns the finished lines. A piece that ends in text with a carriage return is not
    /// held back (progress bars, section marks): a line end is added, and what follows is marked as its continuation.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let lines_end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(lines_end);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.start_line(&mut out);
            out.extend_from_slice(line);
        }
        if rest.contains(&b'\r') || self.held.len() + rest.len() > MAX_HELD {
            self.start_line(&mut out);
            out.extend_from_slice(rest);
            out.push(b'\n');
            self.continues = true;
        } else if !rest.is_empty() {
            if self.held.is_empty() {
                let header = self.header();
                self.held.extend_from_slice(header.as_bytes());
            }
            self.held.extend_from_slice(rest);
        }
        out
    }

    /// No more comes: an unfinished line gets its end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            held.push(b'\n');
        }
        held
    }

    /// Writes what is held of the line, or the header of a new one.
    fn start_line(&mut self, out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let header = self.header();
            out.extend_from_slice(header.as_bytes());
        } else {
            out.append(&mut self.held);
        }
    }

    fn header(&mut self) -> String {
        let mark = if std::mem::take(&mut self.continues) { '+' } else { ' ' };
        #[expect(clippy::disallowed_methods, reason = "each line bears the time at which it came")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        format!("{} {}{mark}", utc(now), self.stream)
    }
}

/// `2026-11-23T12:34:56.123456Z` for a time since 1970.
fn utc(since_epoch: Duration) -> String {
    let (year, month, day, hour, minute, second) = calendar::utc(since_epoch.as_secs());
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output with each time replaced by `T`.
    fn stamped(pieces: &[&str]) -> String {
        let mut stamper = Stamper::new(1, 'E');
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(stamper.feed(piece.as_bytes()));
        }
        out.extend(stamper.finish());
        let text = String::from_utf8(out).unwrap();
        text.split_inclusive('\n').map(|line| format!("T{}", &line[27..])).collect()
    }

    #[test]
    fn each_line_has_its_header() {
        assert_eq!(stamped(&["a\nb\n"]), "T 01E a\nT 01E b\n");
        assert_eq!(stamped(&["a", "b\nc"]), "T 01E ab\nT 01E c\n");
    }

    #[test]
    fn a_section_mark_is_not_held_back() {
        assert_eq!(
            stamped(&["section_start:1:x\r\x1b[0K", "text\n", "next\n"]),
            "T 01E section_start:1:x\r\x1b[0K\nT 01E+text\nT 01E next\n"
        );
    }

    #[test]
    fn times_are_civil() {
        assert_eq!(utc(Duration::from_micros(1_445_412_480_000_042)), "2015-10-21T07:28:00.000042Z");
    }
}
