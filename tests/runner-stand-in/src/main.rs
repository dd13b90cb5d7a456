//! Plays gitlab-runner where there is no real one

fn main() {}
