//! `meta-configure` as a program, in a home directory of its own with nothing in its environment: what users see.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests start the program as a user would"
)]

mod bad_input;
mod doctor;
mod home;
mod render;
