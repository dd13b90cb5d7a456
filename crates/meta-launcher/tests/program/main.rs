//! `meta-launcher` as a program against the GitLab stand-in and a batch system of scripts.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod bad_input;
mod clusters;
mod crash;
mod cycle;
mod keep_alive;
mod obstacles;
mod renewal;
mod sandbox;
mod scope;
mod service;
mod show;
