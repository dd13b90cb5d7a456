//! Random identifiers.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// 32 hexadecimal digits. The hash keys are random per process and differ from call to call, which is enough for
/// names that must not collide; nothing here is a secret.
pub(crate) fn hex() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

/// Up to ten decimal digits.
pub(crate) fn digits() -> String {
    let number = RandomState::new().build_hasher().finish();
    (number % (1 << 32)).to_string()
}
