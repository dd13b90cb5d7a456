//! A container that Apptainer makes and keeps, and that a process of ours goes into.
//!
//! Apptainer mounts an image `nosuid`, and a process that it starts as another user than root gains no rights any more
//! (`no_new_privs`): `sudo` would not work. So, where ids are mapped, it starts a shell of the image that does nothing, and
//! what the job wants is started by us (`entering`), in the mounts that Apptainer made.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::entering::Entering;
use super::file_id::FileId;
use super::init::{STARTED_FD, duplicate_at, spawn};
use super::link::{inherit, pipe_out_of_the_way};
use super::spec::{ContainerProcess, ImageRoot, PodCommand};
use super::{PodError, mounts};

/// What the shell runs that Apptainer starts: it says that the container is there, and waits for an end that never comes.
/// Signals are for the job's processes.
pub(crate) fn keeping_text() -> String {
    format!("trap '' HUP INT TERM; echo made >&{STARTED_FD}; read -r line")
}

/// Apptainer, which makes the container.
pub(super) struct KeptContainer {
    apptainer: u32,
    /// Something can be read from it once the container is made; its end means that it will not be.
    made: OwnedFd,
    /// Its stdin, which must not end before the pod.
    _stdin: OwnedFd,
}

impl KeptContainer {
    /// Starts Apptainer. The container is ready some time later.
    pub(super) fn start(command: &PodCommand) -> Result<Self, PodError> {
        let (made, says) = pipe_out_of_the_way()?;
        let (reads, stdin) = pipe_out_of_the_way()?;
        let says = duplicate_at(&says, STARTED_FD)?;
        let apptainer = spawn(command, reads.into())?.id();
        drop(says);
        Ok(Self { apptainer, made, _stdin: stdin })
    }

    /// Starts the process that becomes `process` in the container as soon as that is made.
    #[expect(
        clippy::disallowed_methods,
        reason = "the process inherits open files, which CommandLine cannot say"
    )]
    pub(super) fn enter(
        &self,
        root: &ImageRoot,
        process: &ContainerProcess,
        stdin: Stdio,
    ) -> Result<Child, PodError> {
        let entering = Entering {
            apptainer: self.apptainer,
            root: FileId::of(&root.merged())?,
            process: process.clone(),
        };
        let entering = serde_json::to_string(&entering).expect("it has only strings and numbers");
        inherit(&self.made)?;
        let program = show_program(root)?;
        Command::new(&program)
            .args(["enter-container", &self.made.as_raw_fd().to_string(), &entering])
            .env_clear()
            .stdin(stdin)
            .spawn()
            .map_err(|source| PodError::Start { program: program.display().to_string(), source })
    }
}

/// Shows this program read-only. What is started in the container may be a script of the image whose first line names
/// `/proc/self/exe`: that is this program, and root in the container is its owner on the node (CVE-2019-5736 of runc).
fn show_program(root: &ImageRoot) -> Result<PathBuf, PodError> {
    let own = Path::new("/proc/self/exe");
    let path = fs::read_link(own).map_err(|source| PodError::Io {
        action: "find this program by",
        path: own.to_owned(),
        source,
    })?;
    let shown = root.program();
    mounts::make_file(&shown)?;
    mounts::bind(&path, &shown)?;
    mounts::make_read_only(std::slice::from_ref(&shown))?;
    if FileId::of(own)? != FileId::of(&shown)? {
        return Err(PodError::Inside {
            message: format!("`{}` has been replaced while the job started: retry it", path.display()),
        });
    }
    Ok(shown)
}
