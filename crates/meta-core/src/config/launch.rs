//! `[launch]`: how a batch job is submitted.

use crate::reader::Section;
use crate::template::{Template, Use};

/// The launch command and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchConfig {
    /// The program, `sbatch` for example.
    pub executable: Template,
    /// Its arguments.
    pub args: Vec<Template>,
    /// Where it runs; the data directory without it.
    pub workdir: Option<Template>,
    /// What it reads.
    pub stdin: Option<Template>,
    /// Seconds that the submission may take.
    pub timeout_s: u64,
    /// Jobs that one launch is good for.
    pub group_size: u32,
    /// Without it the executable's name decides.
    pub scheduler: Option<Scheduler>,
    /// Launches that may exist at a time, all instances together.
    pub max_in_flight: u32,
}

/// What is known about the place where launches wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// Slurm can be asked for its queue.
    Slurm,
    /// Nothing can be asked.
    None,
}

/// `None` where the executable is missing or wrong.
pub(super) fn read(section: Section<'_>) -> Option<LaunchConfig> {
    let executable = section.template("executable", Use::Path);
    if section.get("executable").is_none() {
        section.missing("executable", "write `executable = \"sbatch\"`");
    }
    let args = section.templates("args", Use::Text).unwrap_or_default();
    let workdir = section.template("workdir", Use::Path);
    let stdin = section.template("stdin", Use::Text);
    let timeout_s = section.positive("timeout", " seconds").unwrap_or(300);
    let group_size = section.count("group_size").unwrap_or(1);
    let scheduler = section.word("scheduler", &[("slurm", Scheduler::Slurm), ("none", Scheduler::None)]);
    let max_in_flight = section.count("max_in_flight").unwrap_or(100);
    section.finish();
    Some(LaunchConfig {
        executable: executable?,
        args,
        workdir,
        stdin,
        timeout_s,
        group_size,
        scheduler,
        max_in_flight,
    })
}
