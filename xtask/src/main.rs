//! Bed, demo, test, bench, dist and docs

fn main() {}
