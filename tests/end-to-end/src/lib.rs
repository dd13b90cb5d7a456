//! What the end-to-end suites share: the bed that they run in, jobs of the custom executor with and without gitlab-runner,
//! and the parity suite's parts.

#![expect(
    clippy::disallowed_methods,
    reason = "tests are at the edge: they start programs and read their surroundings"
)]

pub mod alone;
pub mod bed;
pub mod cluster;
pub mod executor;
pub mod front;
pub mod grid_engine;
pub mod launching;
pub mod measure;
pub mod parity;
pub mod processes;
pub mod runner;
pub mod slurm;
