//! Where the repository and its build output are.

use std::path::{Path, PathBuf};

/// The folder of the root manifest, as it was when this program was built: cargo builds it anew in a moved checkout.
pub(crate) fn repository() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}
