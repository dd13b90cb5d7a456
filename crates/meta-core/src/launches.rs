//! The format of `NAME.launches.json`.
