//! run-single as a process, between a canned GitLab and a driver or shell.

#![expect(clippy::unwrap_used, reason = "a test helper that fails has said enough")]

mod contract;
mod ending;
mod files;
mod server;
mod support;
