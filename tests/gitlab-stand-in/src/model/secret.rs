//! Made-up tokens.

use std::hash::{BuildHasher, RandomState};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A source of tokens that nobody can guess by accident. Not cryptography: the server listens on loopback only.
#[derive(Debug)]
pub(crate) struct Secrets {
    seed: RandomState,
    count: u64,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        Self { seed: RandomState::new(), count: 0 }
    }

    /// `prefix` followed by 20 letters and digits.
    pub(crate) fn make(&mut self, prefix: &str) -> String {
        let mut secret = String::from(prefix);
        for _ in 0..2 {
            self.count += 1;
            let mut rest = self.seed.hash_one(self.count);
            for _ in 0..10 {
                secret.push(char::from(ALPHABET[(rest % 62) as usize]));
                rest /= 62;
            }
        }
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_carry_their_prefix_and_differ() {
        let mut secrets = Secrets::new();
        let (first, second) = (secrets.make("glrt-t3_"), secrets.make("glrt-t3_"));
        assert_eq!(first.len(), "glrt-t3_".len() + 20);
        assert!(first.starts_with("glrt-t3_"), "{first}");
        assert_ne!(first, second);
    }
}
