//! Which instance each pending job belongs to.
//!
//! The rules are those by which GitLab hands out jobs (`app/services/ci/queue/build_queue_service.rb` and
//! `app/models/ci/runner.rb`: tags are a subset, untagged jobs where allowed, protected runners for protected refs),
//! plus our choice among the instances that could take a job: the one with the fewest tags to spare.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::config::instances::InstanceConfig;
use crate::name::InstanceName;

/// The parts of a job that decide who may take it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wish {
    /// GitLab's id of the job.
    pub job: u64,
    /// In any order.
    pub tags: Vec<String>,
    /// Whether the job's ref is protected.
    pub protected: bool,
}

/// What came of all wishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches<'a> {
    /// The jobs of each instance that has any, by ascending id: the order in which GitLab hands them out.
    pub by_instance: BTreeMap<&'a InstanceName, Vec<u64>>,
    /// Jobs that no instance may take.
    pub unmatched: BTreeMap<u64, Mismatch>,
}

/// Why no instance may take a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The job has no tags, and no instance has `run_untagged`.
    Untagged,
    /// Tags that no instance has, sorted.
    UnknownTags(Vec<String>),
    /// Each tag is known, but no instance has all of them (sorted).
    NoCommonInstance(Vec<String>),
    /// Only protected instances match, and the ref is not protected.
    NotProtected,
}

/// Matches every job with the instance it fits best: smallest set of tags, then higher `launch_priority`, then name.
///
/// The order of `wishes` has no influence on the result.
pub fn match_jobs<'a>(instances: &'a BTreeMap<InstanceName, InstanceConfig>, wishes: &[Wish]) -> Matches<'a> {
    // Ten thousand pending jobs have a handful of tag sets: each set is looked up once.
    let mut known: HashMap<(Vec<&str>, bool), Result<&InstanceName, Mismatch>> = HashMap::new();
    let mut matches = Matches::default();
    for wish in wishes {
        let mut tags: Vec<&str> = wish.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        match known
            .entry((tags, wish.protected))
            .or_insert_with_key(|(tags, protected)| best(instances, tags, *protected))
        {
            Ok(name) => matches.by_instance.entry(name).or_default().push(wish.job),
            Err(mismatch) => {
                matches.unmatched.insert(wish.job, mismatch.clone());
            }
        }
    }
    for jobs in matches.by_instance.values_mut() {
        jobs.sort_unstable();
        jobs.dedup();
    }
    matches
}

/// Whether one instance's tags cover `tags` (sorted), the protection of the ref aside.
fn covers(instance: &InstanceConfig, tags: &[&str]) -> bool {
    if tags.is_empty() {
        return instance.run_untagged;
    }
    tags.iter().all(|tag| instance.tags.binary_search_by(|own| own.as_str().cmp(tag)).is_ok())
}

fn best<'a>(
    instances: &'a BTreeMap<InstanceName, InstanceConfig>,
    tags: &[&str],
    protected: bool,
) -> Result<&'a InstanceName, Mismatch> {
    let covering = || instances.iter().filter(|(_, instance)| covers(instance, tags));
    covering()
        .filter(|(_, instance)| protected || !instance.protected)
        .min_by_key(|(name, instance)| (instance.tags.len(), Reverse(instance.launch_priority), *name))
        .map(|(name, _)| name)
        .ok_or_else(|| {
            if covering().next().is_some() { Mismatch::NotProtected } else { mismatch(instances, tags) }
        })
}

fn mismatch(instances: &BTreeMap<InstanceName, InstanceConfig>, tags: &[&str]) -> Mismatch {
    let known: BTreeSet<&str> =
        instances.values().flat_map(|instance| &instance.tags).map(String::as_str).collect();
    let owned = |tags: &mut dyn Iterator<Item = &&str>| tags.map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let unknown = owned(&mut tags.iter().filter(|tag| !known.contains(**tag)));
    if tags.is_empty() {
        Mismatch::Untagged
    } else if unknown.is_empty() {
        Mismatch::NoCommonInstance(owned(&mut tags.iter()))
    } else {
        Mismatch::UnknownTags(unknown)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted =
            |tags: &[String]| tags.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Untagged => f.write_str("it has no tags, and no instance has `run_untagged`"),
            Self::UnknownTags(tags) => write!(f, "no instance has {}", quoted(tags)),
            Self::NoCommonInstance(tags) => write!(f, "no instance has all of {}", quoted(tags)),
            Self::NotProtected => {
                f.write_str("only protected instances have its tags, and its ref is not protected")
            }
        }
    }
}

#[cfg(test)]
mod tests;
