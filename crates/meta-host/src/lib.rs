//! Edge: everything our programs need from the machine they run on.
//!
//! What a program knows of its surroundings is captured once ([`Environment`], [`arguments`], [`clock`]) and passed on
//! as values. What it does to them goes through [`files`], [`lease`] and [`process`]. [`app::run`] is the body of every
//! `main`: it is the one place that sets up the log, prints errors and chooses the exit code.

pub mod app;
pub mod arguments;
pub mod clock;
pub mod configuration;
pub mod environment;
pub mod exit;
pub mod file_system;
pub mod files;
pub mod lease;
pub mod process;
pub mod random;
pub mod start_time;
pub mod trust;

pub use environment::Environment;
pub use exit::Failure;
