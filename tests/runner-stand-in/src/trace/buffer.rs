//! The whole job log in memory: limited, valid UTF-8, with its checksum.

use std::sync::Mutex;

use flate2::Crc;

/// Without `output_limit`: 4 MiB.
pub(crate) const DEFAULT_LIMIT: u64 = 4 * 1024 * 1024;

const BOLD_YELLOW: &str = "\x1b[33;1m";
const RESET: &str = "\x1b[0;m";

#[derive(Debug)]
pub(crate) struct Buffer {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    checksum: Crc,
    /// The first bytes of a character whose rest has not been written yet.
    partial: Vec<u8>,
    full: bool,
}

impl Buffer {
    pub(crate) fn new(limit: u64) -> Self {
        let state = State { bytes: Vec::new(), checksum: Crc::new(), partial: Vec::new(), full: false };
        Self { state: Mutex::new(state), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Appends; bytes that are no UTF-8 become U+FFFD. Beyond the limit a notice is written, and nothing more.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let mut input = std::mem::take(&mut state.partial);
        input.extend_from_slice(bytes);
        let complete = input.len() - incomplete_tail(&input);
        state.partial = input.split_off(complete);
        state.append(String::from_utf8_lossy(&input).as_bytes(), self.limit);
    }

    /// No more will come: what was left of a character is written out.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        let rest = std::mem::take(&mut state.partial);
        state.append(String::from_utf8_lossy(&rest).as_bytes(), self.limit);
    }

    pub(crate) fn size(&self) -> usize {
        self.lock().bytes.len()
    }

    /// `crc32:` and eight hexadecimal digits, over everything written so far.
    pub(crate) fn checksum(&self) -> String {
        format!("crc32:{:08x}", self.lock().checksum.sum())
    }

    /// At most `length` bytes from `offset` on; none if `offset` lies beyond the end.
    pub(crate) fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        let state = self.lock();
        let rest = state.bytes.get(offset..).unwrap_or_default();
        rest[..rest.len().min(length)].to_vec()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, text: &[u8], limit: usize) {
        if self.full {
            return;
        }
        let room = limit.saturating_sub(self.bytes.len());
        if text.len() < room {
            self.push(text);
            return;
        }
        let mut cut = room.min(text.len());
        while cut > 0 && text.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut -= 1;
        }
        self.push(&text[..cut]);
        let notice = format!(
            "\n{BOLD_YELLOW}Job's log exceeded limit of {limit} bytes.\n\
             Job execution will continue but no more output will be collected.{RESET}\n"
        );
        self.push(notice.as_bytes());
        self.full = true;
    }

    fn push(&mut self, bytes: &[u8]) {
        self.checksum.update(bytes);
        self.bytes.extend_from_slice(bytes);
    }
}

/// How many bytes at the end are the start of a character that may still be completed.
fn incomplete_tail(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        Err(_) => {
            let tail = &bytes[bytes.len().saturating_sub(3)..];
            (1..=tail.len())
                .find(|n| matches!(std::str::from_utf8(&tail[tail.len() - n..]), Err(e) if e.error_len().is_none()))
                .unwrap_or(0)
        }
        Ok(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buffer: &Buffer) -> String {
        String::from_utf8(buffer.bytes(0, usize::MAX)).unwrap()
    }

    #[test]
    fn characters_may_come_in_pieces_and_garbage_is_replaced() {
        let buffer = Buffer::new(100);
        for byte in "aü€".as_bytes() {
            buffer.write(&[*byte]);
        }
        buffer.write(&[0xff, b'b', 0xc3]);
        buffer.finish();
        assert_eq!(text(&buffer), "aü€\u{fffd}b\u{fffd}");
    }

    #[test]
    fn the_limit_cuts_between_characters_and_says_so_once() {
        let buffer = Buffer::new(4);
        buffer.write("abcü".as_bytes());
        buffer.write(b"more");
        assert!(text(&buffer).starts_with("abc\n\x1b[33;1mJob's log exceeded limit of 4 bytes.\n"));
        assert_eq!(text(&buffer).matches("exceeded").count(), 1);
    }

    #[test]
    fn the_checksum_is_the_one_of_the_bytes() {
        let buffer = Buffer::new(100);
        buffer.write(b"1234");
        buffer.write(b"56789");
        assert_eq!(buffer.checksum(), "crc32:cbf43926");
        assert_eq!(buffer.bytes(7, 100), b"89");
        assert_eq!(buffer.bytes(70, 100), b"");
    }
}
