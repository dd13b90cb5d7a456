//! Pure heart: configuration, templates, matching, formats of our own files

pub mod launches;
pub mod matching;
pub mod registrations;
