//! What this node allows: Apptainer's version and the isolation level, probed once per boot and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use meta_core::config::executor::Level;
use meta_host::files::{make_private_dir, read_private, write_private};
use nix::unistd::{User, getuid};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::directories::Shown;
use crate::failure::{StageFailure, chain};
use crate::plain;
use crate::pod::mapping::subordinate_ids;
use crate::pod::spec::{ImageRoot, Mapping, PodCommand, PodSpec, RootSpec};
use crate::pod::{PodError, driver};

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    key: ProbeKey,
    pub(crate) apptainer: PathBuf,
    /// As Apptainer prints it.
    pub(crate) version: String,
    pub(crate) mapping: Mapping,
    pub(crate) layer: Layer,
}

/// What becomes of what a job writes into its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layer {
    /// It is there until after_script.
    Kept,
    /// Each stage begins with the image, and has room for 64 MB: Apptainer with set-user-id root takes no directory as a
    /// layer.
    PerStage,
}

/// What the result depends on: when one of these changes, the node is probed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ProbeKey {
    boot: String,
    driver: String,
    apptainer: PathBuf,
    apptainer_changed: u64,
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
        {
            return Ok(node);
        }
        let (mapping, layer) = best_level(context, &apptainer)?;
        let node = Self { version: version(&apptainer), mapping, layer, key, apptainer };
        let text = serde_json::to_string_pretty(&node).expect("a node has only strings and numbers");
        write_private(&file, text.as_bytes()).map_err(|error| StageFailure::system(&error))?;
        Ok(node)
    }
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
    let changed = fs::metadata(apptainer).and_then(|found| found.modified()).ok();
    ProbeKey {
        boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        driver: env!("CARGO_PKG_VERSION").to_owned(),
        apptainer: apptainer.to_owned(),
        apptainer_changed: changed
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs()),
        level: format!("{:?}", context.settings.level),
    }
}

#[expect(clippy::disallowed_methods, reason = "one short command whose output is a single word")]
fn version(apptainer: &Path) -> String {
    let output = Command::new(apptainer).arg("--version").stdin(Stdio::null()).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    text.trim_start_matches("apptainer version ").to_owned()
}

/// The best level that works here, or the one that the configuration pins.
fn best_level(context: &Context, apptainer: &Path) -> Result<(Mapping, Layer), StageFailure> {
    let level = context.settings.level;
    let mut reasons = Vec::new();
    if matches!(level, Level::Auto | Level::A) {
        match level_a(context) {
            Ok(mapping) => return Ok((mapping, Layer::Kept)),
            Err(reason) => reasons.push(format!("level A: {reason}")),
        }
    }
    if matches!(level, Level::Auto | Level::B) {
        match try_pod(context, Mapping::RootOnly) {
            Ok(()) => return Ok((Mapping::RootOnly, Layer::Kept)),
            Err(error) => reasons.push(format!("level B: {}", chain(&error))),
        }
    }
    if matches!(level, Level::Auto | Level::C) {
        match plain::probe(context, apptainer) {
            Ok(layer) => return Ok((Mapping::Unmapped, layer)),
            Err(reason) => reasons.push(format!("level C: {reason}")),
        }
    }
    Err(StageFailure::system_with_hint(
        format!("{} does not let a user run a job: {}", context.environment.hostname, reasons.join("; ")),
        "ask the administrator for user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone) and for a range in /etc/subuid and /etc/subgid",
    ))
}

fn level_a(context: &Context) -> Result<Mapping, String> {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let ids = subordinate_ids(&read("/etc/subuid"), &read("/etc/subgid"), &user, uid.as_raw())
        .ok_or_else(|| format!("`{user}` has no range in /etc/subuid and /etc/subgid"))?;
    if context.environment.find_program("newuidmap").is_none() {
        return Err("newuidmap is not installed".to_owned());
    }
    let mapping = Mapping::Subordinate(ids);
    try_pod(context, mapping).map(|()| mapping).map_err(|error| chain(&error))
}

/// Makes a pod with an overlay on the node's directory, which is what a job needs.
fn try_pod(context: &Context, mapping: Mapping) -> Result<(), PodError> {
    let directory = context.paths.node_dir.join(format!("probe-{}", std::process::id()));
    let lower = directory.join("lower");
    fs::create_dir_all(&lower).map_err(|source| PodError::Io {
        action: "make",
        path: lower.clone(),
        source,
    })?;
    let spec = PodSpec {
        hostname: "probe".to_owned(),
        umask: 0o022,
        root: RootSpec::Image(ImageRoot {
            lower,
            layer: directory.clone(),
            shm_size: 4096,
            devices: Vec::new(),
            directories: Vec::new(),
            files: Vec::new(),
        }),
        command: PodCommand {
            program: PathBuf::from("/proc/self/exe"),
            args: vec!["remove".to_owned(), directory.join("work/work").display().to_string()],
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            stdin: None,
            output_owner: 0,
            entry: None,
        },
    };
    let result = driver::run(&spec, mapping);
    let _ = fs::remove_dir_all(&directory);
    match result?.code {
        0 => Ok(()),
        code => Err(PodError::Inside { message: format!("the probe ended with exit code {code}") }),
    }
}
