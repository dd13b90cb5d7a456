//! How a process of ours gets into the container that Apptainer keeps, and becomes the job's process there.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, chdir, setgroups, setresgid, setresuid};
use rustix::io::read;
use serde::{Deserialize, Serialize};

use super::file_id::FileId;
use super::spec::ContainerProcess;
use super::{PodError, capabilities, descendants, doing, mounts, on_path};
use crate::failure::chain;

/// What the process has to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entering {
    /// Apptainer's pid. One of its children lives in the container.
    pub(super) apptainer: u32,
    /// The directory that is the container's root.
    pub(super) root: FileId,
    pub(super) process: ContainerProcess,
}

/// Body of `meta-executor enter-container MADE ENTERING`. `made` is the pipe that says when the container is there.
pub(crate) fn main(made: OwnedFd, entering: &Entering) -> ExitCode {
    match wait_and_enter(made, entering) {
        // Apptainer has said why.
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// `None` if there will be no container.
fn wait_and_enter(made: OwnedFd, entering: &Entering) -> Result<Option<Infallible>, PodError> {
    let mut word = [0; 16];
    let count = read(&made, &mut word)
        .map_err(|source| PodError::Namespace { action: "wait for Apptainer", source: source.into() })?;
    drop(made);
    // What a shell of the image says is not ours; that it says something means that it runs.
    if count == 0 {
        return Ok(None);
    }
    setns(entering.mounts()?, CloneFlags::CLONE_NEWNS).map_err(doing("enter the container"))?;
    if !entering.is_root(Path::new("/")) {
        return Err(not_found());
    }
    mounts::let_programs_set_ids(Path::new("/"))?;
    entering.process.replace_this().map(Some)
}

impl Entering {
    /// The mount namespace of the container. Only Apptainer's child can be asked: others may lie.
    fn mounts(&self) -> Result<File, PodError> {
        let own = FileId::of(Path::new("/proc/self/ns/mnt"))?;
        let children = descendants::children_of(i32::try_from(self.apptainer).unwrap_or(0));
        let directories = children.into_iter().map(|pid| PathBuf::from(format!("/proc/{pid}")));
        let is_elsewhere = |file: &File| file.metadata().is_ok_and(|found| FileId::from(&found) != own);
        directories
            .filter(|directory| self.is_root(&directory.join("root")))
            .filter_map(|directory| File::open(directory.join("ns/mnt")).ok())
            .find(is_elsewhere)
            .ok_or_else(not_found)
    }

    fn is_root(&self, path: &Path) -> bool {
        FileId::of(path).is_ok_and(|found| found == self.root)
    }
}

impl ContainerProcess {
    /// Gives up what docker's root may not do, takes the ids, and starts the program in this process's place.
    #[expect(clippy::disallowed_methods, reason = "the program replaces this process")]
    fn replace_this(&self) -> Result<Infallible, PodError> {
        // As root, like docker: the directory may be closed to the user.
        chdir(&self.cwd).map_err(on_path("enter", &self.cwd))?;
        capabilities::keep_dockers()?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(doing("take the groups of the image's user"))?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setresgid(gid, gid, gid).map_err(doing("take the group of the image's user"))?;
        setresuid(uid, uid, uid).map_err(doing("become the image's user"))?;
        let (program, arguments) = self.words.split_first().ok_or_else(not_found)?;
        let source = Command::new(program).args(arguments).env_clear().exec();
        Err(PodError::Start { program: program.clone(), source })
    }
}

fn not_found() -> PodError {
    PodError::Inside { message: "cannot find the container that Apptainer has made".to_owned() }
}
