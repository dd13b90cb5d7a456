//! Pure heart: configuration, templates, matching, formats of our own files.
//!
//! Nothing here touches a process, a file, the network, the clock or the environment; `clippy.toml` enforces that.
//! The pipeline: [`config::parse`] makes a [`config::Config`] of text, [`instance`] expands one section of it at the moment
//! of use, and what comes out is plain data for the programs.

pub mod command_line;
pub mod config;
pub mod executor_file;
pub mod executor_settings;
pub mod instance;
pub mod launches;
pub mod matching;
pub mod name;
mod reader;
pub mod redaction;
pub mod registrations;
pub mod rotation;
pub mod secret;
pub mod source;
pub mod template;
pub mod time;
pub mod variables;
