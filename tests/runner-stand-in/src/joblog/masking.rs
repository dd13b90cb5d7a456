//! Masks secrets in a stream that comes in pieces.

const MASK: &[u8] = b"[MASKED]";
/// More are silently left out, as in the real program.
const MAX_PREFIXES: usize = 15;

/// Replaces whole phrases by `[MASKED]`, and what follows a token prefix by the same.
#[derive(Debug)]
pub(super) struct Masker {
    /// The longest first, so that a secret inside another doesn't leave the rest of the longer one.
    phrases: Vec<Vec<u8>>,
    prefixes: Vec<Vec<u8>>,
    /// Which bytes can start one of the above.
    starts: [bool; 256],
    /// Held back: may be the start of something to be masked.
    pending: Vec<u8>,
    /// The text so far ends inside a token that has been masked already.
    in_token: bool,
}

impl Masker {
    pub(super) fn new(phrases: &[String], prefixes: &[String]) -> Self {
        let bytes = |text: &String| text.clone().into_bytes();
        let mut phrases: Vec<Vec<u8>> =
            phrases.iter().filter(|phrase| !phrase.is_empty()).map(bytes).collect();
        phrases.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        phrases.dedup();
        let prefixes: Vec<Vec<u8>> =
            prefixes.iter().filter(|prefix| !prefix.is_empty()).take(MAX_PREFIXES).map(bytes).collect();
        let mut starts = [false; 256];
        for pattern in phrases.iter().chain(&prefixes) {
            starts[usize::from(pattern[0])] = true;
        }
        Self { phrases, prefixes, starts, pending: Vec::new(), in_token: false }
    }

    /// Takes the next piece and returns what can be shown of it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.pending);
        input.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(input.len());
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            if self.in_token {
                let length = rest.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(rest.len());
                self.in_token = length == rest.len();
                at += length;
                continue;
            }
            if !self.starts[usize::from(rest[0])] {
                shown.push(rest[0]);
                at += 1;
                continue;
            }
            match self.look(rest) {
                Found::Nothing => {
                    shown.push(rest[0]);
                    at += 1;
                }
                Found::Maybe => {
                    self.pending = rest.to_vec();
                    break;
                }
                Found::Phrase(length) => {
                    shown.extend_from_slice(MASK);
                    at += length;
                }
                Found::Token(prefix) => {
                    shown.extend_from_slice(&rest[..prefix]);
                    shown.extend_from_slice(MASK);
                    self.in_token = true;
                    at += prefix;
                }
            }
        }
        shown
    }

    /// No more comes: what was held back is shown as it is.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn look(&self, rest: &[u8]) -> Found {
        for phrase in &self.phrases {
            if rest.starts_with(phrase) {
                return Found::Phrase(phrase.len());
            }
            if phrase.starts_with(rest) {
                return Found::Maybe;
            }
        }
        for prefix in &self.prefixes {
            if let Some(after) = rest.strip_prefix(prefix.as_slice()) {
                return match after.first() {
                    None => Found::Maybe,
                    Some(byte) if is_token_byte(*byte) => Found::Token(prefix.len()),
                    Some(_) => Found::Nothing,
                };
            }
            if prefix.starts_with(rest) {
                return Found::Maybe;
            }
        }
        Found::Nothing
    }
}

enum Found {
    Nothing,
    /// Not enough text to tell.
    Maybe,
    Phrase(usize),
    Token(usize),
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(pieces: &[&str]) -> String {
        let mut masker = Masker::new(
            &["secret".to_owned(), "secretive".to_owned(), String::new()],
            &["glpat-".to_owned()],
        );
        let mut shown = Vec::new();
        for piece in pieces {
            shown.extend(masker.feed(piece.as_bytes()));
        }
        shown.extend(masker.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn phrases_are_masked_across_pieces_and_the_longest_wins() {
        assert_eq!(masked(&["a sec", "ret b"]), "a [MASKED] b");
        assert_eq!(masked(&["secretive!"]), "[MASKED]!");
        assert_eq!(masked(&["secreti", "on"]), "[MASKED]ion");
        assert_eq!(masked(&["a sec"]), "a sec");
    }

    #[test]
    fn tokens_keep_their_prefix() {
        assert_eq!(masked(&["x glpat", "-abc", "=_-. end"]), "x glpat-[MASKED] end");
        assert_eq!(masked(&["glpat- x"]), "glpat- x");
    }
}
