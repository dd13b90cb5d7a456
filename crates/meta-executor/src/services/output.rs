//! The log of a service: what it writes, each line with its time. The holder writes it, the driver reads it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::SystemTime;

use super::timestamp;

/// docker's executor shows no more of a log in a warning, in bytes.
const SHOWN: u64 = 64 * 1024;

/// How many windows of that size are read of a log at once: 4 MiB.
const WINDOWS: u64 = 64;

/// A service that writes for ever must not fill the node's disk, in bytes.
const KEPT: u64 = 64 << 20;

/// Puts the time in front of each line.
#[derive(Debug)]
pub(crate) struct LogWriter<W> {
    out: W,
    written: u64,
    inside_line: bool,
}

impl<W: Write> LogWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, written: 0, inside_line: false }
    }

    /// Appends what the service wrote, which arrived at `now`. Beyond [`KEPT`] nothing more is kept.
    pub(crate) fn write(&mut self, bytes: &[u8], now: SystemTime) -> io::Result<()> {
        if self.written >= KEPT {
            return Ok(());
        }
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !self.inside_line {
                text.extend_from_slice(timestamp::text(now).as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(line);
            self.inside_line = !line.ends_with(b"\n");
        }
        self.written += text.len() as u64;
        if self.written >= KEPT {
            text.extend_from_slice(b"\n... what the service writes from here on is not kept\n");
        }
        self.out.write_all(&text)
    }
}

/// The beginning of the log, as a warning shows it; why it can't be read, if so.
pub(crate) fn beginning(path: &Path) -> String {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(SHOWN).read_to_end(&mut text)) {
        Ok(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) => format!("cannot read `{}`: {error}", path.display()),
    }
}

/// The complete lines behind the first `offset` bytes, and where they end. A log that is not there yet has none.
/// Of a flood a part.
pub(crate) fn lines_from(path: &Path, offset: u64) -> (Vec<String>, u64) {
    let (mut lines, mut place) = (Vec::new(), offset);
    for _ in 0..WINDOWS {
        let (more, end) = window(path, place);
        lines.extend(more);
        if end == place {
            break;
        }
        place = end;
    }
    (lines, place)
}

/// Those of them that are in the first [`SHOWN`] bytes.
fn window(path: &Path, offset: u64) -> (Vec<String>, u64) {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(SHOWN).read_to_end(&mut text)
    });
    let end = match (read, text.iter().rposition(|&byte| byte == b'\n')) {
        (Ok(_), Some(end)) => end + 1,
        // A line that fills the whole window is passed on in pieces.
        (Ok(_), None) if text.len() as u64 == SHOWN => text.len(),
        _ => 0,
    };
    let lines = String::from_utf8_lossy(&text[..end]).lines().map(str::to_owned).collect();
    (lines, offset + end as u64)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn written(pieces: &[&str]) -> String {
        let mut out = Vec::new();
        let mut log = LogWriter::new(&mut out);
        for (second, piece) in pieces.iter().enumerate() {
            log.write(piece.as_bytes(), UNIX_EPOCH + Duration::from_secs(second as u64)).unwrap();
        }
        String::from_utf8(out).unwrap().replace("1970-01-01T00:00:0", "").replace(".000000000Z", "")
    }

    #[test]
    fn each_line_has_the_time_of_its_first_byte() {
        assert_eq!(written(&["a\nb\n", "c", "d\n\n"]), "0 a\n0 b\n1 cd\n2 \n");
    }

    #[test]
    fn a_flood_is_cut() {
        let mut out = Vec::new();
        let mut log = LogWriter::new(&mut out);
        let megabyte = vec![b'x'; 1 << 20];
        for _ in 0..80 {
            log.write(&megabyte, UNIX_EPOCH).unwrap();
        }
        assert!(out.len() < 66 << 20 && out.ends_with(b"is not kept\n"));
    }

    #[test]
    fn all_that_is_new_is_read_at_once_but_not_for_ever() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let lines = |count: usize| "0123456789abcde\n".repeat(count);
        file.write_all(lines(20_000).as_bytes()).unwrap();
        let (read, offset) = lines_from(file.path(), 0);
        assert_eq!((read.len(), offset), (20_000, 320_000));
        file.write_all(lines(400_000).as_bytes()).unwrap();
        let (read, _) = lines_from(file.path(), offset);
        assert_eq!(read.len() as u64, WINDOWS * SHOWN / 16);
    }

    #[test]
    fn only_complete_lines_are_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\ntwo\nthr").unwrap();
        let (lines, offset) = lines_from(file.path(), 0);
        assert_eq!((lines.join("|").as_str(), offset), ("one|two", 8));
        assert_eq!(lines_from(file.path(), offset), (Vec::new(), 8));
        assert_eq!(lines_from(Path::new("/does/not/exist"), 3), (Vec::new(), 3));
        assert_eq!(beginning(file.path()), "one\ntwo\nthr");
    }
}
