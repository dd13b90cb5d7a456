//! Checkouts that stay for the next job (`keep_builds`), as docker's persistent `/builds` volume does.
//!
//! gitlab-runner numbers its concurrent jobs to keep their directories apart, but `run-single` says 0 in each. So a slot is
//! claimed: it belongs to one job as long as that job's directory is there and its gitlab-runner lives. Slots are a host's
//! own, also on a shared file system, because only there can be seen whether a process lives.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta_host::files::{make_private_dir, read_private, write_private};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};

use crate::context::{Context, JobPaths};
use crate::failure::StageFailure;
use crate::job::Job;
use crate::owner;
use crate::state::Owner;

const CLAIM: &str = "claim.json";

/// How long a checkout stays that no job fetches into. docker keeps its volumes until somebody prunes them.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whom a slot belongs to.
#[derive(Serialize, Deserialize)]
struct Claim {
    job: PathBuf,
    owner: Owner,
}

/// The job's slot: the one that it has, or the first that nobody has.
pub(crate) fn claim(context: &Context, job: &Job) -> Result<PathBuf, StageFailure> {
    let own = context.paths.slot_file();
    if let Ok(slot) = read_private(&own) {
        return Ok(PathBuf::from(slot));
    }
    let name = format!(
        "{}-slot-{}-{}{}",
        context.environment.hostname,
        context.instance_name,
        job.project(),
        job.protection()
    );
    let claim = Claim { job: context.paths.job.clone(), owner: owner::of(getppid().as_raw()) };
    let mut number = 0_u32;
    let slot = loop {
        let slot = context.paths.builds_dir.join(format!("{name}-{number}"));
        make_private_dir(&slot).map_err(|error| StageFailure::system(&error))?;
        if take(&slot, &claim).map_err(|error| StageFailure::disk(&slot, &error))? {
            break slot;
        }
        number += 1;
    };
    write_private(&own, slot.display().to_string().as_bytes())
        .map_err(|error| StageFailure::system(&error))?;
    Ok(slot)
}

/// Slots of this host that no job has used for [`UNUSED`], under names that no job looks for. Whoever gets them removes them.
pub(crate) fn take_unused(context: &Context) -> Vec<PathBuf> {
    let builds_dir = &context.paths.builds_dir;
    let host = &context.environment.hostname;
    let prefix = format!("{host}-slot-");
    let entries = fs::read_dir(builds_dir).into_iter().flatten().flatten();
    let slots = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    let claim = Claim { job: context.paths.job.clone(), owner: owner::of(getppid().as_raw()) };
    slots
        .map(|entry| entry.path())
        .filter(|slot| is_unused(slot) && take(slot, &claim).unwrap_or(false))
        .filter_map(|slot| {
            // As the sweep's own: one that is not removed now is found by the next job.
            let name = slot.file_name()?.to_string_lossy().replacen("-slot-", "-custom-executor-slot-", 1);
            let unused = builds_dir.join(name);
            fs::rename(&slot, &unused).is_ok().then_some(unused)
        })
        .collect()
}

/// Each claim, and its end, is a change of the slot's directory.
fn is_unused(slot: &Path) -> bool {
    let changed = fs::symlink_metadata(slot).and_then(|found| found.modified());
    changed.ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > UNUSED)
}

/// Gives the job's slot to the next one.
pub(crate) fn release(paths: &JobPaths) {
    if let Ok(slot) = read_private(&paths.slot_file()) {
        // A claim that stays is void anyway when the job's directory is gone.
        let _ = fs::remove_file(Path::new(&slot).join(CLAIM));
    }
}

/// Takes the slot unless another job has it.
fn take(slot: &Path, claim: &Claim) -> io::Result<bool> {
    // For the moment between looking and writing. All who come here are on one host.
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(slot.join("lock"))?;
    let _locked = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| io::Error::from(error))?;
    let path = slot.join(CLAIM);
    let taken = read_private(&path).ok().and_then(|text| serde_json::from_str::<Claim>(&text).ok());
    if taken
        .is_some_and(|taken| taken.job != claim.job && taken.job.exists() && owner::is_alive(&taken.owner))
    {
        return Ok(false);
    }
    let text = serde_json::to_string(claim).expect("a claim has only strings and numbers");
    write_private(&path, text.as_bytes()).map_err(io::Error::other)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_job_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let job = |name: &str| {
            let job = directory.path().join(name);
            fs::create_dir(&job).unwrap();
            Claim { job, owner: owner::of(i32::try_from(std::process::id()).unwrap()) }
        };
        let (first, second) = (job("first"), job("second"));
        let slot = directory.path();
        assert!(take(slot, &first).unwrap());
        assert!(!take(slot, &second).unwrap());
        assert!(take(slot, &first).unwrap(), "the same job again");
        fs::remove_dir(&first.job).unwrap();
        assert!(take(slot, &second).unwrap(), "the first job is gone");
        let dead = Claim { owner: Owner { pid: 1, started: 0 }, ..job("dead") };
        fs::remove_dir(&second.job).unwrap();
        assert!(take(slot, &dead).unwrap());
        assert!(take(slot, &job("third")).unwrap(), "its gitlab-runner is gone");
    }
}
