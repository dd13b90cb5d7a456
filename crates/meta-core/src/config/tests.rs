//! The samples in tests/configs are the tests: a file there is a case here.

use std::path::Path;

use super::*;

#[test]
fn the_seed_parses() {
    let text = include_str!("../../../../tests/configs/valid/seed.toml");
    let config = parse(Path::new("seed.toml"), text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.url, "https://gitlab.com");
}
