//! Puts gitlab-runner run-single into the batch queue for pending jobs

fn main() {}
