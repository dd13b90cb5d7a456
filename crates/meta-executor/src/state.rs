//! What `prepare` decided and the later stages need: `job.json` in the job's directory.

use std::path::PathBuf;

use meta_host::files::{read_private, write_transient};
use serde::{Deserialize, Serialize};

use crate::context::JobPaths;
use crate::directories::Directories;
use crate::failure::StageFailure;
use crate::pod::spec::Mapping;

/// A prepared job.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobState {
    pub(crate) hostname: String,
    pub(crate) mapping: Mapping,
    pub(crate) directories: Directories,
    pub(crate) image: PreparedImage,
    /// The image of helper stages; without it they use the node's tools.
    pub(crate) helper: Option<PreparedImage>,
}

/// A process on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) pid: i32,
    /// Start time in clock ticks after boot: a pid alone may be used again.
    pub(crate) started: u64,
}

/// The job's image as it is run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PreparedImage {
    pub(crate) rootfs: PathBuf,
    pub(crate) entrypoint: Vec<String>,
    /// `NAME=value` of the image's configuration.
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: PathBuf,
    /// Directories that docker would make volumes of, whether the image has them or not.
    pub(crate) volumes: Vec<PathBuf>,
    /// Its `sh`.
    pub(crate) shell: Option<PathBuf>,
    pub(crate) user: ImageUser,
}

/// The user that the job's scripts run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The image's groups that name the user as a member, without `gid`.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl JobState {
    pub(crate) fn load(paths: &JobPaths) -> Result<Self, StageFailure> {
        let path = paths.state_file();
        let text = read_private(&path).map_err(|error| StageFailure::system(&error))?;
        serde_json::from_str(&text).map_err(|error| {
            StageFailure::system_with_hint(
                format!("cannot understand `{}`: {error}", path.display()),
                "retry the job",
            )
        })
    }

    pub(crate) fn save(&self, paths: &JobPaths) -> Result<(), StageFailure> {
        let text = serde_json::to_string_pretty(self).expect("a job state has only strings and numbers");
        write_transient(&paths.state_file(), text.as_bytes()).map_err(|error| StageFailure::system(&error))
    }
}
