//! `meta-register` as a program against the GitLab stand-in.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests write files, start programs, and fail where they cannot"
)]

mod answers;
mod bad_input;
mod cycle;
mod json;
#[cfg(target_arch = "x86_64")]
mod kill;
mod lock;
mod privacy;
mod relay;
mod rotation;
mod sandbox;
mod scope;
mod way;
