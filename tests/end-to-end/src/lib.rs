//! Sandbox and end-to-end suites
