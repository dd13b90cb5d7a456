//! The job log on its way to GitLab: [`buffer`] keeps it, [`sender`] ships it and learns of cancellation.

pub(crate) mod buffer;
pub(crate) mod sender;
