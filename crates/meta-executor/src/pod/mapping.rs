//! Id maps of a pod's user namespace: from the user's subordinate ids, or root alone.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::PodError;
use super::spec::{IdRange, Mapping, SubordinateIds};

/// Ids that the smallest useful range must have: system users and groups of common images end with 65534 (`nobody`).
const ENOUGH_IDS: u32 = 65_535;

/// The user's ranges in the texts of `/etc/subuid` and `/etc/subgid`, if both are large enough (subuid(5)).
pub(crate) fn subordinate_ids(subuid: &str, subgid: &str, user: &str, uid: u32) -> Option<SubordinateIds> {
    let range = |text: &str| {
        text.lines().filter_map(|line| parse_range(line, user, uid)).find(|range| range.count >= ENOUGH_IDS)
    };
    Some(SubordinateIds { uid: range(subuid)?, gid: range(subgid)? })
}

fn parse_range(line: &str, user: &str, uid: u32) -> Option<IdRange> {
    let mut fields = line.trim().split(':');
    let owner = fields.next()?;
    if owner != user && owner.parse() != Ok(uid) {
        return None;
    }
    Some(IdRange { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? })
}

/// Writes the id maps of the process `pid`, which has just made its user namespace.
///
/// Subordinate ids need newuidmap(1) and newgidmap(1), which are set-user-id root; root alone needs nobody's help.
pub(crate) fn write_maps(pid: u32, mapping: Mapping, uid: u32, gid: u32) -> Result<(), PodError> {
    match mapping {
        Mapping::Subordinate(ids) => {
            // Side by side: one of them takes as long as the rest of the pod.
            let uids = MapWriter::start("newuidmap", pid, uid, ids.uid)?;
            let gids = MapWriter::start("newgidmap", pid, gid, ids.gid);
            uids.finish()?;
            gids?.finish()
        }
        Mapping::RootOnly => {
            let proc = Path::new("/proc").join(pid.to_string());
            // Without this the kernel refuses the group map of an unprivileged process (user_namespaces(7)).
            write_map(&proc.join("setgroups"), "deny")?;
            write_map(&proc.join("uid_map"), &format!("0 {uid} 1"))?;
            write_map(&proc.join("gid_map"), &format!("0 {gid} 1"))
        }
        Mapping::Unmapped => Ok(()),
    }
}

/// A running newuidmap(1) or newgidmap(1).
struct MapWriter {
    program: &'static str,
    child: Child,
}

impl MapWriter {
    /// Maps root to `own` and the ids from 1 on to `range`.
    #[expect(
        clippy::disallowed_methods,
        reason = "a short set-user-id helper that runs beside another one, which CommandLine cannot say"
    )]
    fn start(program: &'static str, pid: u32, own: u32, range: IdRange) -> Result<Self, PodError> {
        let child = Command::new(program)
            .args([pid, 0, own, 1, 1, range.start, range.count].map(|number| number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| PodError::Start { program: program.to_owned(), source })?;
        Ok(Self { program, child })
    }

    fn finish(self) -> Result<(), PodError> {
        let Self { program, child } = self;
        let output = child
            .wait_with_output()
            .map_err(|source| PodError::Namespace { action: "wait for the id map of the pod", source })?;
        if output.status.success() {
            return Ok(());
        }
        Err(PodError::Map { program, stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of /proc takes one write; it cannot be replaced by rename"
)]
fn write_map(path: &Path, text: &str) -> Result<(), PodError> {
    fs::write(path, text).map_err(|source| PodError::Io { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let subuid = "daemon:1:10\nci:200000:65536\n";
        let subgid = "1000:300000:65536\n";
        let ids = subordinate_ids(subuid, subgid, "ci", 1000).expect("both files name the user");
        assert_eq!((ids.uid.start, ids.gid.start, ids.uid.count), (200_000, 300_000, 65_536));
    }

    #[test]
    fn a_range_that_is_missing_or_too_small_is_none() {
        assert_eq!(subordinate_ids("ci:200000:1000", "ci:1:65536", "ci", 1000), None);
        assert_eq!(subordinate_ids("ci:200000:65536", "", "ci", 1000), None);
        assert_eq!(subordinate_ids("nonsense", "::", "ci", 1000), None);
    }
}
