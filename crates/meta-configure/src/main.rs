//! Writes gitlab-runner.toml and checks the configuration

fn main() {}
