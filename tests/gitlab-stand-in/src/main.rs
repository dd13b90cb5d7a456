//! Plays GitLab in tests and the demo

fn main() {}
