//! Images: names, registries, credentials, the store of unpacked images.

pub(crate) mod census;
pub(crate) mod credentials;
mod entry;
mod eviction;
mod in_use;
mod keeper;
mod layout;
pub(crate) mod names;
pub(crate) mod own_command;
pub(crate) mod platform;
pub(crate) mod policy;
pub(crate) mod prepared;
pub(crate) mod reference;
pub(crate) mod registry;
pub(crate) mod shell;
pub(crate) mod store;
mod tidy;
mod touch;
pub(crate) mod unpack;
pub(crate) mod user;
