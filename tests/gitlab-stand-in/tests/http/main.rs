//! The stand-in as its clients see it: over HTTP, and with the real git.

#![expect(clippy::disallowed_methods, reason = "these tests run git and the program itself")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod client;
mod clock;
mod endpoints;
mod faults;
mod git;
mod management;
mod pipelines;
mod program;
mod runner;
