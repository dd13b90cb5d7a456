//! Registers, updates and deletes runners through the GitLab API

fn main() {}
