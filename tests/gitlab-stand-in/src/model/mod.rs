//! Everything that the played server knows, in memory.

mod access;
mod job;
mod pipeline;
mod runner;
mod secret;

pub(crate) use access::{Group, Level, Member, Namespace, PersonalToken, Project, Scope, User};
pub(crate) use job::{Artifact, Job, Status};
pub(crate) use pipeline::{Commit, Pipeline};
pub(crate) use runner::{Manager, Runner, RunnerStatus, RunnerType};
pub(crate) use secret::Secrets;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::clock::{Clock, Time};
use crate::faults::Fault;
use crate::ledger::Ledger;
use crate::settings::Settings;

/// The whole server. One lock guards it; no handler holds it across an await.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) clock: Clock,
    pub(crate) started: Time,
    /// How many hourly sweeps have run since `started`.
    pub(crate) sweeps_done: i64,
    /// External URL without a slash at the end.
    pub(crate) url: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) secrets: Secrets,
    pub(crate) users: BTreeMap<i64, User>,
    pub(crate) tokens: BTreeMap<i64, PersonalToken>,
    pub(crate) groups: BTreeMap<i64, Group>,
    pub(crate) projects: BTreeMap<i64, Project>,
    pub(crate) members: Vec<Member>,
    pub(crate) runners: BTreeMap<i64, Runner>,
    pub(crate) pipelines: BTreeMap<i64, Pipeline>,
    pub(crate) jobs: BTreeMap<i64, Job>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) ledger: Ledger,
    last_id: i64,
}

impl State {
    /// An empty server at `url` whose repositories live below `state_dir`.
    pub(crate) fn new(url: String, state_dir: PathBuf, clock: Clock) -> Self {
        Self {
            started: clock.now(),
            clock,
            sweeps_done: 0,
            url,
            state_dir,
            settings: Settings::default(),
            secrets: Secrets::new(),
            users: BTreeMap::new(),
            tokens: BTreeMap::new(),
            groups: BTreeMap::new(),
            projects: BTreeMap::new(),
            members: Vec::new(),
            runners: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            jobs: BTreeMap::new(),
            faults: Vec::new(),
            ledger: Ledger::default(),
            last_id: 0,
        }
    }

    /// The current time of the played server.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// A fresh id. All kinds share one sequence: an id used for the wrong kind is then never accepted by chance.
    pub(crate) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// The project with this numeric id or full path.
    pub(crate) fn project_by_key(&self, key: &str) -> Option<&Project> {
        match key.parse::<i64>() {
            Ok(id) => self.projects.get(&id),
            Err(_) => self.projects.values().find(|project| project.full_path == key),
        }
    }

    /// The group with this numeric id or full path.
    pub(crate) fn group_by_key(&self, key: &str) -> Option<&Group> {
        match key.parse::<i64>() {
            Ok(id) => self.groups.get(&id),
            Err(_) => self.groups.values().find(|group| group.full_path == key),
        }
    }

    /// The group and its ancestors, nearest first.
    pub(crate) fn group_with_ancestors(&self, id: i64) -> Vec<&Group> {
        let mut found = Vec::new();
        let mut next = self.groups.get(&id);
        while let Some(group) = next {
            found.push(group);
            next = group.parent_id.and_then(|parent| self.groups.get(&parent));
        }
        found
    }

    /// The jobs of a pipeline in the order of their ids, retried ones too.
    pub(crate) fn jobs_of(&self, pipeline_id: i64) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.values().filter(move |job| job.pipeline_id == pipeline_id)
    }

    /// The bare repository of a project; it may not exist.
    pub(crate) fn repository(&self, project: &Project) -> PathBuf {
        self.state_dir.join("repositories").join(format!("{}.git", project.full_path))
    }
}
