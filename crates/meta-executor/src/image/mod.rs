//! Images: names, registries, credentials, the store of unpacked images.

pub(crate) mod credentials;
pub(crate) mod names;
pub(crate) mod platform;
pub(crate) mod policy;
pub(crate) mod reference;
pub(crate) mod registry;
pub(crate) mod store;
pub(crate) mod unpack;
pub(crate) mod user;
