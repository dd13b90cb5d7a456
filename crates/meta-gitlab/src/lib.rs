//! Edge: the part of the GitLab REST API that we use, synchronous.
//!
//! [`Client`] carries the connection; each module adds the calls of one resource to it. What GitLab sends and expects as
//! JSON is private to those modules: callers see plain structs. Every failure is an [`ApiError`], which knows what people
//! can do about it.

mod client;
mod connection;
mod error;
pub mod jobs;
mod link;
pub mod parallel;
pub mod projects;
mod retry;
pub mod runner_token;
pub mod runners;
pub mod session;
pub mod tokens;

pub use client::{Client, ClientSettings};
pub use connection::{ConnectionError, Proxies};
pub use error::{ApiError, ErrorKind};
