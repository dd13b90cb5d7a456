//! What this node allows: Apptainer's version and the isolation level, probed once per boot and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use meta_core::config::executor::Level;
use meta_host::files::{make_private_dir, read_private, write_private};
use nix::unistd::{User, getuid};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::directories::Shown;
use crate::failure::{StageFailure, chain};
use crate::plain;
use crate::pod::driver::{self, Outcome};
use crate::pod::mapping::subordinate_ids;
use crate::pod::spec::{ImageRoot, Mapping, PodSpec, RootSpec};
use crate::pod::stop_signals::StoppedBy;

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    key: ProbeKey,
    pub(crate) apptainer: PathBuf,
    /// As Apptainer prints it.
    pub(crate) version: String,
    pub(crate) mapping: Mapping,
    pub(crate) layer: LayerLife,
}

/// How long a job finds what it wrote into its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LayerLife {
    /// It is there until after_script.
    Kept,
    /// Each stage begins with the image, and has room for 64 MB: Apptainer with set-user-id root takes no directory as a
    /// layer.
    PerStage,
}

/// Why a level cannot be had.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// We were told to stop: that says nothing of the node.
    Stop(StoppedBy),
    Reason(String),
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

/// How long a level below the best one is believed: what stood in the way may have been mended, or have passed by itself.
const TRUSTED: Duration = Duration::from_secs(3600);

/// What the result depends on: when one of these changes, the node is probed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ProbeKey {
    boot: String,
    driver: String,
    apptainer: PathBuf,
    apptainer_changed: u64,
    /// Times of `/etc/subuid` and `/etc/subgid`.
    ids_changed: [u64; 2],
    level: String,
}

impl Node {
    /// `A`, `B` or `C`, as the user guide names the isolation levels.
    pub(crate) fn level(&self) -> &'static str {
        match self.mapping {
            Mapping::Subordinate(_) => "A",
            Mapping::RootOnly => "B",
            Mapping::Unmapped => "C",
        }
    }

    /// The paths that jobs see on this node.
    pub(crate) fn shown_paths(&self, context: &Context) -> Shown {
        let on_host = context.settings.same_paths || self.mapping == Mapping::Unmapped;
        if on_host { Shown::AsOnHost } else { Shown::AsDocker }
    }

    /// Reads what was found before on this node, or probes it.
    pub(crate) fn probe(context: &Context) -> Result<Self, StageFailure> {
        make_private_dir(&context.paths.node_dir).map_err(|error| StageFailure::system(&error))?;
        let apptainer = find_apptainer(context)?;
        let key = key(context, &apptainer);
        let file = context.paths.node_dir.join(format!("{}.node.json", context.environment.hostname));
        if let Ok(text) = read_private(&file)
            && let Ok(node) = serde_json::from_str::<Self>(&text)
            && node.key == key
            && (!node.may_get_better(context.settings.level) || is_recent(&file))
        {
            return Ok(node);
        }
        let (mapping, layer) = best_level(context, &apptainer)?;
        let node = Self { version: version(&apptainer), mapping, layer, key, apptainer };
        let text = serde_json::to_string_pretty(&node).expect("a node has only strings and numbers");
        write_private(&file, text.as_bytes()).map_err(|error| StageFailure::system(&error))?;
        Ok(node)
    }

    fn may_get_better(&self, wanted: Level) -> bool {
        matches!(wanted, Level::Auto) && !matches!(self.mapping, Mapping::Subordinate(_))
    }
}

fn is_recent(file: &Path) -> bool {
    let changed = fs::metadata(file).and_then(|found| found.modified()).ok();
    changed.and_then(|time| time.elapsed().ok()).is_some_and(|age| age < TRUSTED)
}

fn find_apptainer(context: &Context) -> Result<PathBuf, StageFailure> {
    let name = context.settings.apptainer_executable.display().to_string();
    context.environment.find_program(&name).ok_or_else(|| {
        let path = context.environment.variables.get("PATH").map_or("", String::as_str);
        StageFailure::system_with_hint(
            format!("cannot find `{name}` on {} (PATH is `{path}`)", context.environment.hostname),
            "install Apptainer on the compute nodes, load its module in `[launch]` `stdin`, or set `apptainer_executable` in `[executor]`",
        )
    })
}

fn key(context: &Context, apptainer: &Path) -> ProbeKey {
    ProbeKey {
        boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        driver: env!("CARGO_PKG_VERSION").to_owned(),
        apptainer: apptainer.to_owned(),
        apptainer_changed: changed(apptainer),
        ids_changed: ["/etc/subuid", "/etc/subgid"].map(|file| changed(Path::new(file))),
        level: format!("{:?}", context.settings.level),
    }
}

/// When a file was changed, in seconds since 1970; 0 if it is not there.
fn changed(file: &Path) -> u64 {
    let time = fs::metadata(file).and_then(|found| found.modified()).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

#[expect(clippy::disallowed_methods, reason = "one short command whose output is a single word")]
fn version(apptainer: &Path) -> String {
    let output = Command::new(apptainer).arg("--version").stdin(Stdio::null()).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    text.trim_start_matches("apptainer version ").to_owned()
}

/// The best level that works here, or the one that the configuration pins.
fn best_level(context: &Context, apptainer: &Path) -> Result<(Mapping, LayerLife), StageFailure> {
    let level = context.settings.level;
    let mut reasons = Vec::new();
    if matches!(level, Level::Auto | Level::A) {
        match level_a(context) {
            Ok(mapping) => return Ok((mapping, LayerLife::Kept)),
            Err(obstacle) => reasons.push(format!("level A: {}", reason(obstacle)?)),
        }
    }
    if matches!(level, Level::Auto | Level::B) {
        match try_pod(context, Mapping::RootOnly) {
            Ok(()) => return Ok((Mapping::RootOnly, LayerLife::Kept)),
            Err(obstacle) => reasons.push(format!("level B: {}", reason(obstacle)?)),
        }
    }
    if matches!(level, Level::Auto | Level::C) {
        match plain::probe(context, apptainer) {
            Ok(layer) => return Ok((Mapping::Unmapped, layer)),
            Err(obstacle) => reasons.push(format!("level C: {}", reason(obstacle)?)),
        }
    }
    Err(StageFailure::system_with_hint(
        format!("{} does not let a user run a job: {}", context.environment.hostname, reasons.join("; ")),
        "ask the administrator for user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone) and for a range in /etc/subuid and /etc/subgid",
    ))
}

/// Why the node has not this level; a stop is the end of the stage.
fn reason(obstacle: Obstacle) -> Result<String, StageFailure> {
    match obstacle {
        Obstacle::Stop(by) => Err(StageFailure::stopped(by)),
        Obstacle::Reason(reason) => Ok(reason),
    }
}

fn level_a(context: &Context) -> Result<Mapping, Obstacle> {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let ids = subordinate_ids(&read("/etc/subuid"), &read("/etc/subgid"), &user, uid.as_raw())
        .ok_or_else(|| format!("`{user}` has no range in /etc/subuid and /etc/subgid"))?;
    if context.environment.find_program("newuidmap").is_none() {
        return Err("newuidmap is not installed".to_owned().into());
    }
    let mapping = Mapping::Subordinate(ids);
    try_pod(context, mapping).map(|()| mapping)
}

/// Makes a pod with an overlay on the node's directory, which is what a job needs.
fn try_pod(context: &Context, mapping: Mapping) -> Result<(), Obstacle> {
    let directory = context.paths.node_dir.join(format!("probe-{}", std::process::id()));
    let lower = directory.join("lower");
    fs::create_dir_all(&lower).map_err(|error| format!("cannot make `{}`: {error}", lower.display()))?;
    let root = ImageRoot {
        lower,
        layer: directory.clone(),
        shm_size: 4096,
        devices: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        hidden_programs: Vec::new(),
    };
    // What overlayfs made there is root's in the pod.
    let words = vec!["remove".to_owned(), directory.join("work/work").display().to_string()];
    let spec = PodSpec::own_work("probe", RootSpec::Image(root), words);
    let result = driver::run(&spec, mapping);
    let _ = fs::remove_dir_all(&directory);
    match result.map_err(|error| chain(&error))? {
        Outcome { stopped: Some(by), .. } => Err(Obstacle::Stop(by)),
        Outcome { code: 0, .. } => Ok(()),
        Outcome { code, .. } => Err(format!("the probe ended with exit code {code}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::spec::Mapping::{RootOnly, Unmapped};

    #[test]
    fn a_stop_in_a_probe_ends_the_stage_and_is_no_reason_for_a_worse_level() {
        assert_eq!(reason(Obstacle::from("no ids".to_owned())).unwrap(), "no ids");
        let failure = reason(Obstacle::Stop(StoppedBy::Other)).unwrap_err();
        assert!(failure.to_string().contains("the job was stopped"), "{failure}");
    }

    #[test]
    fn a_worse_level_is_believed_for_a_while() {
        let node = |mapping| Node {
            key: ProbeKey {
                boot: String::new(),
                driver: String::new(),
                apptainer: PathBuf::new(),
                apptainer_changed: 0,
                ids_changed: [0, 0],
                level: String::new(),
            },
            apptainer: PathBuf::new(),
            version: String::new(),
            mapping,
            layer: LayerLife::Kept,
        };
        assert!(node(RootOnly).may_get_better(Level::Auto) && node(Unmapped).may_get_better(Level::Auto));
        assert!(!node(RootOnly).may_get_better(Level::B), "the configuration wants no better one");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(is_recent(file.path()));
        file.as_file().set_modified(UNIX_EPOCH).unwrap();
        assert!(!is_recent(file.path()));
    }
}
