//! The format of `NAME.registrations.toml` and of the reference's `NAME.tokens`.
