//! Which instance takes which pending job.
