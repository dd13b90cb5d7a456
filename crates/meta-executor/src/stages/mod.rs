//! The four calls of gitlab-runner (docker-executor contract, custom executor).

pub(crate) mod cleanup;
pub(crate) mod config;
pub(crate) mod prepare;
pub(crate) mod run;
