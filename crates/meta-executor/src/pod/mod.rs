//! A pod: the namespaces of a container, made without root. Where a job has services, `holder` keeps one around them all.
//!
//! Three processes of this program take part, because a user namespace needs help from outside and a PID namespace needs an
//! init of its own:
//!
//! ```text
//! driver  (host)          `driver::run`: writes the id maps, passes the spec, waits, forwards SIGTERM
//!   outer (user ns ...)   `outer::main`: unshares, becomes root in the namespace, starts the init
//!     init (PID 1)        `init::main`: mounts, starts the command, reaps, ends the pod
//!       command           bash for helper stages, Apptainer for the others
//! ```
//!
//! With subordinate ids Apptainer only makes the container, and the command is a process of ours that goes into it
//! (`kept_container`, `entering`).
//!
//! Where the node allows no namespaces (isolation level C) there is no outer process, and the init is an ordinary process
//! that keeps its descendants together (`descendants`).
//!
//! The control pipe is the pod's lifeline: the driver keeps its write end open, and the init ends when it closes. So the pod
//! ends with the driver whatever happens to it, and the kernel kills what is left in the PID namespace.

mod capabilities;
pub(crate) mod descendants;
pub(crate) mod descriptors;
pub(crate) mod devices;
pub(crate) mod driver;
pub(crate) mod entering;
mod file_id;
mod first_word;
pub(crate) mod image_root;
pub(crate) mod init;
pub(crate) mod kept_container;
pub(crate) mod link;
pub(crate) mod mapping;
pub(crate) mod mounts;
pub(crate) mod outer;
pub(crate) mod report;
pub(crate) mod shields;
pub(crate) mod spec;
pub(crate) mod stop_signals;
pub(crate) mod tools_root;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a pod could not be made or kept. Always a failure of ours or of the node, never of the job.
#[derive(Debug, Error)]
pub(crate) enum PodError {
    #[error("cannot start `{program}`")]
    Start { program: String, source: io::Error },
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{program}` refused the id map of the pod: {stderr}")]
    Map { program: &'static str, stderr: String },
    #[error("cannot {action}")]
    Namespace { action: &'static str, source: io::Error },
    #[error("{message}")]
    Inside { message: String },
    #[error("the pod ended without a word")]
    Silent,
}

/// Turns an error number of a system call on a path into an error that names both.
pub(crate) fn on_path(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(nix::Error) -> PodError {
    let path = path.into();
    move |source| PodError::Io { action, path, source: source.into() }
}

/// The same for a system call without a path.
pub(crate) fn doing(action: &'static str) -> impl FnOnce(nix::Error) -> PodError {
    move |source| PodError::Namespace { action, source: source.into() }
}
