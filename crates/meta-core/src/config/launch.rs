//! `[launch]`: how a batch job is submitted.

use std::collections::BTreeMap;

use crate::config::schedulers::{SLURM, SchedulerConfig};
use crate::reader::{Section, YEAR_S};
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
    /// Seconds for which a launch that began to run may be without a job; without a scheduler, since its submission.
    pub start_grace_s: u64,
    /// Launches that one submission may make, as an array.
    pub max_array: u32,
    /// Launches that may exist at a time, all instances together.
    pub max_in_flight: u32,
    /// Jobs of one project that may have a launch or a runner at a time.
    pub max_per_project: Option<u32>,
}

/// What is known about the place where launches wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheduler {
    /// It can be asked: the name of its table in `[schedulers]`.
    Known(String),
    /// Nothing can be asked.
    None,
}

/// Runners that end by themselves say for how many seconds they look for a job; without that word, the example's value.
const WAIT_TIMEOUT_S: u64 = 30;

/// Seconds that a node may take from the start of the batch job to the runner's first look for a job.
const NODE_START_S: u64 = 120;

/// [`LaunchConfig::start_grace_s`] where nothing says another one.
pub const START_GRACE_S: u64 = WAIT_TIMEOUT_S + NODE_START_S;

/// `None` where the executable is missing or wrong.
pub(super) fn read(
    section: Section<'_>,
    schedulers: &BTreeMap<String, Option<SchedulerConfig>>,
) -> Option<LaunchConfig> {
    let executable = section.template("executable", Use::Path);
    if section.get("executable").is_none() {
        section.missing("executable", "write `executable = \"sbatch\"`");
    }
    let args = section.templates("args", Use::Text).unwrap_or_default();
    let workdir = section.template("workdir", Use::Path);
    let stdin = section.template("stdin", Use::Text);
    let timeout_s = section.seconds("timeout", 1).unwrap_or(300);
    let group_size = section.count("group_size").unwrap_or(1);
    let scheduler = read_scheduler(&section, schedulers);
    let start_grace_s = section.seconds("start_grace", 1).unwrap_or_else(|| {
        let texts = args.iter().chain(&stdin).map(Template::text);
        texts.filter_map(wait_timeout).max().unwrap_or(WAIT_TIMEOUT_S) + NODE_START_S
    });
    let max_array = section.count("max_array").unwrap_or(100);
    let max_in_flight = section.count("max_in_flight").unwrap_or(100);
    let max_per_project = section.count("max_per_project");
    section.finish();
    Some(LaunchConfig {
        executable: executable?,
        args,
        workdir,
        stdin,
        timeout_s,
        group_size,
        scheduler,
        start_grace_s,
        max_array,
        max_in_flight,
        max_per_project,
    })
}

impl LaunchConfig {
    /// Whether the admin leads the launch id to the batch system by other means than the scheduler's own: in an argument, or
    /// in a line like `#SBATCH` of the script. What only the shell sees is not in the queue.
    pub fn uses_launch_id(&self) -> bool {
        self.args.iter().any(|template| template.uses("LAUNCH_ID"))
            || self.stdin.iter().any(|script| script.uses_in_line("LAUNCH_ID", is_directive))
    }
}

/// Whether a line of a script is one for the batch system, like `#SBATCH`.
pub(crate) fn is_directive(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| !rest.starts_with([' ', '!']))
}

fn read_scheduler(
    section: &Section<'_>,
    schedulers: &BTreeMap<String, Option<SchedulerConfig>>,
) -> Option<Scheduler> {
    let (text, span) = section.string("scheduler")?;
    if text == "none" {
        return Some(Scheduler::None);
    }
    if !schedulers.contains_key(&text) {
        let names: Vec<String> = schedulers.keys().map(|name| format!("`\"{name}\"`")).collect();
        let message = format!("`{}` has no value `{text}`", section.dotted("scheduler"));
        let hint = format!(
            "write `\"none\"` or one of {}, or describe another one in `[schedulers.{text}]`",
            names.join(", ")
        );
        section.reader().problem(span, message, &hint);
        return None;
    }
    Some(Scheduler::Known(text))
}

impl Scheduler {
    /// Slurm, where the program is its `sbatch`.
    pub fn of_program(program: &str) -> Self {
        let is_sbatch = program.rsplit('/').next() == Some("sbatch");
        if is_sbatch { Self::Known(SLURM.to_owned()) } else { Self::None }
    }
}

/// The number behind `--wait-timeout` in a script.
fn wait_timeout(script: &str) -> Option<u64> {
    let (_, rest) = script.split_once("--wait-timeout")?;
    let digits: String =
        rest.trim_start_matches(['=', ' ', '"']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|seconds| *seconds <= YEAR_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_s_patience_is_found_in_the_script() {
        assert_eq!(wait_timeout("exec gitlab-runner run-single --wait-timeout 45 -r x\n"), Some(45));
        assert_eq!(wait_timeout("--wait-timeout=7"), Some(7));
        assert_eq!(wait_timeout("--wait-timeout $SECONDS"), None);
        assert_eq!(wait_timeout("true"), None);
        assert_eq!(wait_timeout("--wait-timeout 18446744073709551615"), None);
    }
}
