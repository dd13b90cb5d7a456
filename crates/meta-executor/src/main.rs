//! The custom executor of gitlab-runner: jobs in Apptainer

fn main() {}
