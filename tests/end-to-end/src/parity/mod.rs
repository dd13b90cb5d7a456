//! The parity suite's parts: what gitlab-runner's docker executor does, row by row, asked of ours by real jobs.
//!
//! A [`Row`] is an integration test of gitlab-runner's docker executor, or a point of the same kind that has no test
//! there. It is proven in a [`Place`] (a project of its own on a shared GitLab and site) at every isolation level, and
//! [`Results`] prints the table.

mod place;
mod ran;
mod results;
mod row;

pub use place::{Place, Rig, RunningJob};
pub use ran::Ran;
pub use results::Results;
pub use row::{Case, Expect, Proof, Row};

/// The isolation levels that every row is proven at.
pub const LEVELS: [&str; 3] = ["A", "B", "C"];
