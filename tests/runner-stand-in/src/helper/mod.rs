//! The commands that generated scripts call.
