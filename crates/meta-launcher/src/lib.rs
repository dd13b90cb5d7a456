//! Puts `gitlab-runner run-single` into the batch queue for pending jobs.
//!
//! A tick gathers [`facts`], hands them to [`plan`], and performs what comes out. [`plan`] and everything below it is
//! pure.

pub mod facts;
pub mod outlook;
pub mod plan;
pub mod supply;

mod backoff;
mod settle;
#[cfg(test)]
mod testing;
