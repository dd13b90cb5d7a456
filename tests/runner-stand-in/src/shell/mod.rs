//! The scripts of the stages, in the shape that gitlab-runner generates for bash and sh.

mod artifacts;
mod cache;
mod cache_key;
mod cleanup;
mod escape;
mod git_urls;
pub(crate) mod paths;
pub(crate) mod scripts;
mod sources;
mod submodules;
mod user;
mod writer;
