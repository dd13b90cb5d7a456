//! Up and down with artifacts.
