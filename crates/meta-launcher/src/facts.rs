//! What one tick knows: the plan's input, as plain data.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meta_core::config::instances::InstanceConfig;
use meta_core::launches::Launch;
use meta_core::matching::Wish;
use meta_core::name::InstanceName;

/// Everything that the plan depends on.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Unix seconds.
    pub now: u64,
    /// Every instance of the configuration, for matching.
    pub instances: BTreeMap<InstanceName, InstanceConfig>,
    /// What else is known of those that can be launched.
    pub sites: BTreeMap<InstanceName, Site>,
    /// Pending and running jobs of all projects that answered.
    pub jobs: Vec<Job>,
    /// Whether every project answered. Absence proves nothing otherwise.
    pub jobs_complete: bool,
    /// The ledger, in the order of submission.
    pub launches: Vec<Launch>,
    /// Each batch system's view of them, as [`Place::Queue`] counts.
    pub batches: Vec<Batch>,
    /// What bounds the launches.
    pub limits: Limits,
    /// When each instance was last kept online; `None` if that is not wanted.
    pub kept_online: Option<BTreeMap<String, u64>>,
    /// Jobs whose end by GitLab's limit was announced, and when.
    pub warned: BTreeMap<u64, u64>,
}

/// What bounds the launches of a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Launches that may exist at a time; each element of an array counts.
    pub max_in_flight: u32,
    /// Jobs of one project that may have a launch or a runner at a time.
    pub max_per_project: Option<u32>,
    /// Jobs that one launch is good for.
    pub group_size: u32,
    /// Seconds between two looks.
    pub interval_s: u64,
    /// Seconds that a submission may take.
    pub timeout_s: u64,
}

/// How and as whom an instance is launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// GitLab's id of the runner; it tells whose the running jobs are.
    pub runner: u64,
    /// Where its launches are looked for.
    pub place: Place,
    /// Launches that one submission may make; 1 where there are no arrays.
    pub max_array: u32,
    /// Seconds for which a launch that began to run may still be without a job.
    pub start_grace_s: u64,
    /// Changes with everything that could make a refused submission succeed.
    pub fingerprint: String,
    /// Why a launch would be in vain.
    pub obstacle: Option<Obstacle>,
}

/// Where an instance's launches are looked for. Instances may be of different clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the list of the batch system with this number in [`Facts::batches`].
    Queue(usize),
    /// Nowhere: nothing can be asked, and they only grow old.
    Nowhere,
    /// Only a launch command would tell, and none can be made.
    Unclear,
}

/// What makes every launch of an instance useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody paused the runner in GitLab.
    Paused,
    /// GitLab does not know the runner's token.
    TokenRefused,
    /// Its launch command cannot be made.
    NoCommand,
}

/// A job of GitLab's that is pending or running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Unique in all of GitLab.
    pub id: u64,
    /// GitLab's id of its project.
    pub project: u64,
    /// In any order.
    pub tags: Vec<String>,
    /// Whether its ref is protected.
    pub protected: bool,
    /// The runner that has it. A pending job with a runner is handed out already and not to be launched for.
    pub runner: Option<u64>,
    /// Whether it still waits for its runner's confirmation, or for a runner.
    pub pending: bool,
    /// Seconds for which it has been waiting.
    pub queued_s: u64,
}

/// What the batch system answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// All of this user's jobs in the queue, and those that ended a moment ago.
    Known(Vec<QueueEntry>),
    /// The query failed: nothing is known, above all not that the queue is empty.
    Unknown,
}

impl Batch {
    /// The list, if there is one.
    pub(crate) fn known(&self) -> Option<&[QueueEntry]> {
        match self {
            Self::Known(entries) => Some(entries),
            Self::Unknown => None,
        }
    }
}

/// One line of the batch system's list: a job, or tasks of an array that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The id that the submission printed.
    pub batch_id: String,
    /// Where it stands.
    pub state: QueueState,
    /// The batch system's word for the state or, while it waits, for the reason.
    pub word: String,
    /// Seconds for which it has been running, where the list tells.
    pub elapsed_s: Option<u64>,
    /// The tasks of an array that this is about, as runs of indices; empty for a job that is no array.
    pub tasks: Vec<std::ops::RangeInclusive<u32>>,
    /// Text that may hold a launch id.
    pub mark: String,
}

impl QueueEntry {
    /// How many elements of a launch this is about.
    pub fn elements(&self) -> u32 {
        self.tasks.iter().map(|run| run.end() - run.start() + 1).sum::<u32>().max(1)
    }

    /// Whether the launch with this id made it. Ids may be the beginning of each other.
    pub fn is_marked(&self, id: &str) -> bool {
        let belongs = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !id.is_empty()
            && self.mark.match_indices(id).any(|(start, _)| {
                !self.mark[..start].ends_with(|c: char| c.is_ascii_digit() || c == '-')
                    && !self.mark[start + id.len()..].starts_with(belongs)
            })
    }
}

/// Where a job of the batch system stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    /// Not started, and not ended.
    Waiting,
    /// Started.
    Running,
    /// Ended, for whatever reason.
    Ended,
}

/// What the waiting jobs among these ask for.
pub(crate) fn wishes(jobs: &[Job]) -> Vec<Wish> {
    let waiting = jobs.iter().filter(|job| job.is_waiting());
    waiting.map(|job| Wish { job: job.id, tags: job.tags.clone(), protected: job.protected }).collect()
}

impl Facts {
    /// The list in which the launches of an instance are, as far as it is known.
    pub(crate) fn queue(&self, instance: &InstanceName) -> Option<&[QueueEntry]> {
        match self.sites.get(instance)?.place {
            Place::Queue(number) => self.batches.get(number)?.known(),
            Place::Nowhere | Place::Unclear => None,
        }
    }

    /// Whether every batch system answered that has launches of instances.
    pub fn batches_known(&self) -> bool {
        let is_known = |(name, site): (&InstanceName, &Site)| {
            !matches!(site.place, Place::Queue(_)) || self.queue(name).is_some()
        };
        self.sites.iter().all(is_known)
    }

    /// Ids of jobs that wait for a runner.
    pub fn waiting(&self) -> BTreeSet<u64> {
        self.jobs.iter().filter(|job| job.is_waiting()).map(|job| job.id).collect()
    }

    /// How many jobs each runner has at this moment, by its id.
    pub fn active(&self) -> HashMap<u64, u64> {
        let mut active = HashMap::new();
        for runner in self.jobs.iter().filter_map(|job| job.runner) {
            *active.entry(runner).or_default() += 1;
        }
        active
    }
}

impl Job {
    /// Whether nobody has it yet (`two_phase_job_commit`: a job that was handed out stays pending for a while).
    pub fn is_waiting(&self) -> bool {
        self.pending && self.runner.is_none()
    }
}
