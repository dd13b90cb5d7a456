//! From a configuration to jobs, and from a job to what its runner is sent.

mod cache_key;
mod config;
mod create;
mod dotenv;
mod job_spec;
mod node;
mod order;
mod payload;
mod spec;
mod variables;
mod yaml;

pub(crate) use config::{Config, ConfigError, parse_config, single_job};
pub(crate) use create::{Draft, add_job, create_pipeline};
pub(crate) use dotenv::parse_dotenv;
pub(crate) use node::Node;
pub(crate) use order::update_pipeline;
pub(crate) use payload::{FAILURE_REASONS, dependencies_of, payload};
pub(crate) use spec::{AllowFailure, JobSpec, Variable};
pub(crate) use variables::{REVISION, VERSION};
