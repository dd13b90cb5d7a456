//! Plays GitLab in tests and the demo: the REST API that runners and their managers use, git over HTTP, and a control
//! API to make jobs, move the clock and ask for trouble.
//!
//! It is meant to be as strict as the real server. Where the two differ the real one is right.

mod api;
mod clock;
mod control;
mod faults;
mod git;
mod intercept;
mod ledger;
mod lifecycle;
mod matching;
mod model;
mod options;
mod pipeline;
mod program;
mod server;
mod settings;
mod stand_in;
mod sweeps;
#[cfg(test)]
mod testing;
mod tls;

pub use options::Options;
pub use program::{Args, run};
pub use stand_in::{StandIn, StartError};
pub use tls::TlsError;
