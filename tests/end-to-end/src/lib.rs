//! What the end-to-end suites share: the bed that they run in, and a job of the custom executor without gitlab-runner.

#![expect(
    clippy::disallowed_methods,
    reason = "tests are at the edge: they start programs and read their surroundings"
)]

pub mod bed;
pub mod cluster;
pub mod executor;
pub mod front;
pub mod measure;
pub mod processes;
