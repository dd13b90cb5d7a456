//! Chance, for waits and names that must differ between processes. Not for secrets.

use std::hash::{BuildHasher as _, RandomState};

/// A number that differs from process to process and from call to call.
pub fn number() -> u64 {
    // RandomState is seeded by the operating system.
    RandomState::new().hash_one(0_u8)
}

/// A number in 0..1.
pub fn fraction() -> f64 {
    // 53 bits fill a f64.
    (number() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_vary_within_their_range() {
        let fractions: Vec<f64> = (0..8).map(|_| fraction()).collect();
        assert!(fractions.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        assert!(fractions.iter().any(|fraction| *fraction != fractions[0]));
    }
}
