//! What a pod is made of, as data. The driver writes it as one line of JSON into the pod's control pipe.

use std::fmt;
use std::path::PathBuf;

use meta_core::secret::REDACTED;
use serde::{Deserialize, Serialize};

/// Everything that the pod's processes need to know. They see no environment and no other file of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodSpec {
    /// Host name inside the pod.
    pub(crate) hostname: String,
    /// umask of the command: docker's helper container has 0000, the job's container 0022.
    pub(crate) umask: u32,
    pub(crate) root: RootSpec,
    pub(crate) command: PodCommand,
}

impl PodSpec {
    /// A pod for work of our own with the ids of the job: this program again, as `meta-executor WORDS`.
    pub(crate) fn own_work(hostname: &str, root: RootSpec, words: Vec<String>) -> Self {
        Self {
            hostname: hostname.to_owned(),
            umask: 0o022,
            root,
            command: PodCommand {
                program: PathBuf::from("/proc/self/exe"),
                args: words,
                env: Vec::new(),
                cwd: PathBuf::from("/"),
                stdin: None,
                output_owner: 0,
                entry: None,
                inside: None,
            },
        }
    }
}

/// The file system that the pod's command sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum RootSpec {
    /// Host tools on an otherwise empty root, for helper stages.
    HostTools(HostToolsRoot),
    /// A writable layer over an unpacked image. The command (Apptainer) runs on the host's root and enters it.
    Image(ImageRoot),
    /// The host's root as it is: for work on our own directories with the ids of the job.
    Host,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostToolsRoot {
    /// An empty directory on the host where the new root is put together.
    pub(crate) mount_point: PathBuf,
    /// Top-level directories of the host that hold the tools (`/usr`, `/etc`, ...).
    pub(crate) host_directories: Vec<PathBuf>,
    /// What is hidden below them: the user's home, our data.
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) binds: Vec<Bind>,
    /// Home directory of the command, made on the new root.
    pub(crate) home: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRoot {
    /// The unpacked image; read only.
    pub(crate) lower: PathBuf,
    /// A directory of the job on the node: its writable layer, kept from the script to after_script, and mount points.
    pub(crate) layer: PathBuf,
    /// Size of `/dev/shm` in bytes.
    pub(crate) shm_size: u64,
    /// Devices of the host beside docker's usual ones.
    pub(crate) devices: Vec<PathBuf>,
    /// Directories and empty files that Apptainer needs as mount points: with `--writable` it makes none.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
    /// Programs of the host that Apptainer shall not find.
    pub(crate) hidden_programs: Vec<PathBuf>,
}

impl ImageRoot {
    /// What the job wrote.
    pub(crate) fn upper(&self) -> PathBuf {
        self.layer.join("upper")
    }

    /// overlayfs's own.
    pub(crate) fn work(&self) -> PathBuf {
        self.layer.join("work")
    }

    /// Where the image with the layer is mounted.
    pub(crate) fn merged(&self) -> PathBuf {
        self.layer.join("merged")
    }

    /// Where `/dev` is put together.
    pub(crate) fn dev(&self) -> PathBuf {
        self.layer.join("dev")
    }

    /// Where this program is shown to the pod, read-only.
    pub(crate) fn program(&self) -> PathBuf {
        self.layer.join("program")
    }

    /// Where a read-only tmpfs is mounted that stands in for hidden directories.
    pub(crate) fn empty(&self) -> PathBuf {
        self.layer.join("empty")
    }
}

/// A path of the host that is seen inside at `target`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodCommand {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: PathBuf,
    /// Host path of the file on the command's stdin.
    pub(crate) stdin: Option<PathBuf>,
    /// Uid in the pod to whom stdout and stderr belong.
    pub(crate) output_owner: u32,
    /// What the container's first process reads from descriptor [`super::init::ENTRY_FD`], to report on
    /// [`super::init::STARTED_FD`] that it runs.
    pub(crate) entry: Option<EntryText>,
    /// Where the command (Apptainer) only makes the container and keeps it: what runs there. stdin and `entry` are this one's.
    pub(crate) inside: Option<ContainerProcess>,
}

/// A process that we start ourselves in a container that Apptainer keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerProcess {
    /// The program's path in the image, and its arguments.
    pub(crate) words: Vec<String>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
    pub(crate) cwd: PathBuf,
}

/// Text that may hold secrets: it is never an argument, and no `Debug` shows it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EntryText(String);

impl EntryText {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// With `first` in front.
    pub(crate) fn after(self, first: &str) -> Self {
        Self(format!("{first}{}", self.0))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for EntryText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// How the ids of a pod map to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mapping {
    /// Level A: 0 is the user, 1 and up are the user's subordinate ids.
    Subordinate(SubordinateIds),
    /// Level B: 0 is the user, there is no other id.
    RootOnly,
    /// Level C: no namespaces of ours, the ids are the host's.
    Unmapped,
}

impl Mapping {
    /// Whether a container can run as these ids. Where there is one id only, it can be shown as any number.
    pub(crate) fn can_become(self, uid: u32, gid: u32) -> bool {
        match self {
            // 0 is the user himself.
            Self::Subordinate(ids) => uid <= ids.uid.count && gid <= ids.gid.count,
            // At level C all images run as the user.
            Self::RootOnly | Self::Unmapped => true,
        }
    }
}

/// A range from `/etc/subuid` and one from `/etc/subgid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubordinateIds {
    pub(crate) uid: IdRange,
    pub(crate) gid: IdRange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdRange {
    pub(crate) start: u32,
    pub(crate) count: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_beyond_the_range_cannot_be_had() {
        let range = IdRange { start: 100_000, count: 65_536 };
        let mapping = Mapping::Subordinate(SubordinateIds { uid: range, gid: range });
        assert!(mapping.can_become(0, 65_536) && mapping.can_become(65_536, 0));
        assert!(!mapping.can_become(65_537, 0) && !mapping.can_become(0, 70_000));
        assert!(Mapping::RootOnly.can_become(70_000, 70_000));
    }
}
