//! `meta-register` as a program against the GitLab stand-in.

mod bad_input;
mod cycle;
mod lock;
mod sandbox;
