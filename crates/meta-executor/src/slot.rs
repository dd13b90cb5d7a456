//! Checkouts that stay for the next job (`keep_builds`), as docker's persistent `/builds` volume does.
//!
//! gitlab-runner numbers its concurrent jobs to keep their directories apart, but `run-single` says 0 in each. So a slot is
//! claimed: it belongs to one job as long as that job's directory is there and its gitlab-runner lives. Slots are a host's
//! own, also on a shared file system, because only there can be seen whether a process lives.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meta_host::files::{make_private_dir, read_private, write_private};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};

use crate::context::Context;
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
    let name = format!("{}-{}{}", context.instance_name, job.project(), job.protection());
    let slots = Slots::of(context);
    let slot = slots
        .claim(&name, &Claim::of(context))
        .map_err(|error| StageFailure::disk(slots.builds_dir, &error))?;
    write_private(&own, slot.display().to_string().as_bytes())
        .map_err(|error| StageFailure::system(&error))?;
    Ok(slot)
}

/// Slots of this host that no job has used for [`UNUSED`], under names that no job looks for. Whoever gets them removes them.
pub(crate) fn take_unused(context: &Context) -> Vec<PathBuf> {
    Slots::of(context).take_unused(&Claim::of(context)).unwrap_or_default()
}

/// Gives the job's slot to the next one.
pub(crate) fn release(context: &Context) {
    if let Ok(slot) = read_private(&context.paths.slot_file()) {
        // A claim that stays is void anyway when the job's directory is gone.
        let _ = Slots::of(context).release(Path::new(&slot), &context.paths.job);
    }
}

impl Claim {
    fn of(context: &Context) -> Self {
        Self { job: context.paths.job.clone(), owner: owner::of(getppid().as_raw()) }
    }

    fn is_valid(&self) -> bool {
        self.job.exists() && owner::is_alive(&self.owner)
    }
}

/// The slots of this host.
struct Slots<'a> {
    builds_dir: &'a Path,
    host: &'a str,
}

impl<'a> Slots<'a> {
    fn of(context: &'a Context) -> Self {
        Self { builds_dir: &context.paths.builds_dir, host: &context.environment.hostname }
    }

    /// For as long as slots are looked at and change hands. It is no slot's own: a slot can be taken away.
    fn lock(&self) -> io::Result<Flock<File>> {
        let path = self.builds_dir.join(format!(".{}-slots.lock", self.host));
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
    }

    fn claim(&self, name: &str, claim: &Claim) -> io::Result<PathBuf> {
        let _locked = self.lock()?;
        let slots =
            (0_u64..).map(|number| self.builds_dir.join(format!("{}-slot-{name}-{number}", self.host)));
        for slot in slots {
            make_private_dir(&slot).map_err(io::Error::other)?;
            if take(&slot, claim)? {
                return Ok(slot);
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn take_unused(&self, claim: &Claim) -> io::Result<Vec<PathBuf>> {
        let prefix = format!("{}-slot-", self.host);
        let names = fs::read_dir(self.builds_dir)?.flatten().map(|entry| entry.file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let found: Vec<String> = names
            .filter(|name| name.starts_with(&prefix) && is_unused(&self.builds_dir.join(name)))
            .collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let _locked = self.lock()?;
        let mut taken = Vec::new();
        for name in found {
            let slot = self.builds_dir.join(&name);
            // Looked at again: it may have been claimed meanwhile.
            if is_unused(&slot) && take(&slot, claim).unwrap_or(false) {
                // As the sweep's own: one that is not removed now is found by the next job.
                let unused = self.builds_dir.join(name.replacen("-slot-", "-custom-executor-slot-", 1));
                if fs::rename(&slot, &unused).is_ok() {
                    taken.push(unused);
                }
            }
        }
        Ok(taken)
    }

    fn release(&self, slot: &Path, job: &Path) -> io::Result<()> {
        let _locked = self.lock()?;
        match claim_of(slot) {
            Some(claim) if claim.job == job => fs::remove_file(slot.join(CLAIM)),
            // Another job found our gitlab-runner dead.
            _ => Ok(()),
        }
    }
}

/// Each claim, and its end, is a change of the slot's directory.
fn is_unused(slot: &Path) -> bool {
    let changed = fs::symlink_metadata(slot).and_then(|found| found.modified());
    changed.ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > UNUSED)
}

/// Takes the slot unless another job has it. The lock is held.
fn take(slot: &Path, claim: &Claim) -> io::Result<bool> {
    if claim_of(slot).is_some_and(|other| other.job != claim.job && other.is_valid()) {
        return Ok(false);
    }
    let text = serde_json::to_string(claim).expect("a claim has only strings and numbers");
    write_private(&slot.join(CLAIM), text.as_bytes()).map_err(io::Error::other)?;
    Ok(true)
}

fn claim_of(slot: &Path) -> Option<Claim> {
    serde_json::from_str(&read_private(&slot.join(CLAIM)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// A job of this process with the directory `job`.
    fn job(job: &Path) -> Claim {
        fs::create_dir(job).unwrap();
        Claim { job: job.to_owned(), owner: owner::of(i32::try_from(std::process::id()).unwrap()) }
    }

    #[test]
    fn a_slot_has_one_job_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let job = |name: &str| job(&directory.path().join(name));
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

    #[test]
    fn a_slot_is_never_taken_away_while_it_is_claimed() {
        let directory = tempfile::tempdir().unwrap();
        let slots = Slots { builds_dir: directory.path(), host: "node1" };
        let (claimer, sweeper) = (job(&directory.path().join("a")), job(&directory.path().join("b")));
        std::thread::scope(|scope| {
            let claims = scope.spawn(|| {
                for _ in 0..50 {
                    let slot = slots.claim("x", &claimer).unwrap();
                    assert!(claim_of(&slot).is_some_and(|claim| claim.job == claimer.job));
                    slots.release(&slot, &claimer.job).unwrap();
                    File::open(&slot)
                        .and_then(|slot| slot.set_modified(SystemTime::UNIX_EPOCH))
                        .unwrap_or(());
                }
            });
            while !claims.is_finished() {
                slots
                    .take_unused(&sweeper)
                    .unwrap()
                    .iter()
                    .for_each(|slot| fs::remove_dir_all(slot).unwrap());
            }
        });
    }

    #[test]
    fn only_the_own_claim_is_released() {
        let directory = tempfile::tempdir().unwrap();
        let slots = Slots { builds_dir: directory.path(), host: "node1" };
        let (first, second) = (job(&directory.path().join("first")), job(&directory.path().join("second")));
        let slot = slots.claim("x", &Claim { owner: Owner { pid: 1, started: 0 }, ..first }).unwrap();
        assert_eq!(slots.claim("x", &second).unwrap(), slot);
        slots.release(&slot, &directory.path().join("first")).unwrap();
        assert!(claim_of(&slot).is_some_and(|claim| claim.job == second.job));
    }
}
