//! Images: names, registries, credentials, the store of unpacked images.

pub(crate) mod census;
pub(crate) mod credentials;
mod eviction;
mod in_use;
mod layout;
pub(crate) mod names;
pub(crate) mod own_command;
pub(crate) mod platform;
pub(crate) mod policy;
pub(crate) mod prepared;
mod pull_lease;
pub(crate) mod reference;
pub(crate) mod registry;
pub(crate) mod shell;
pub(crate) mod store;
mod tidy;
mod touch;
pub(crate) mod unpack;
mod unpacked;
pub(crate) mod user;
