//! What every stage begins with: the instance's settings on this node and the place of the job.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use meta_core::executor_file::{self, ExecutorFile, ExecutorInstance};
use meta_core::executor_settings::{ExecutorSettings, expand};
use meta_core::name::InstanceName;
use meta_core::variables::Variables;
use meta_host::Environment;
use meta_host::files::read_private;

use crate::failure::{StageFailure, chain};
use crate::job::Job;

/// Settings and paths of one stage of one job.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) environment: Environment,
    pub(crate) data_dir: PathBuf,
    pub(crate) settings: ExecutorSettings,
    pub(crate) instance_name: InstanceName,
    pub(crate) instance: ExecutorInstance,
    pub(crate) paths: JobPaths,
}

/// Where a job's things are (contracts, section 9).
#[derive(Clone, Debug)]
pub(crate) struct JobPaths {
    /// Holds one directory per job.
    pub(crate) builds_dir: PathBuf,
    pub(crate) job: PathBuf,
    pub(crate) node_dir: PathBuf,
    pub(crate) overlay: PathBuf,
}

impl JobPaths {
    pub(crate) fn state_file(&self) -> PathBuf {
        self.job.join("job.json")
    }

    /// The driver that runs a script of the job now.
    pub(crate) fn running_file(&self) -> PathBuf {
        self.job.join("running.json")
    }

    /// Where the job's slot is, if it has one.
    pub(crate) fn slot_file(&self) -> PathBuf {
        self.job.join("slot")
    }

    /// What later stages must know of the job's holder, if there is one.
    pub(crate) fn holder_file(&self) -> PathBuf {
        self.job.join("holder.json")
    }

    /// Files of service number `index`.
    pub(crate) fn service(&self, index: usize) -> PathBuf {
        self.job.join("services").join(index.to_string())
    }

    /// `/builds` of a job without a slot.
    pub(crate) fn private_builds(&self) -> PathBuf {
        self.job.join("builds")
    }

    /// `/cache` where the runner has no cache directory.
    pub(crate) fn private_cache(&self) -> PathBuf {
        self.job.join("cache")
    }

    /// Home directory of helper stages, kept between them as docker keeps its helper container.
    pub(crate) fn home(&self) -> PathBuf {
        self.job.join("home")
    }
}

impl Context {
    /// Finds the instance's settings and expands them with what this node and this job are.
    pub(crate) fn load(
        instance: &InstanceName,
        data_dir: PathBuf,
        environment: &Environment,
        job: &Job,
    ) -> Result<Self, StageFailure> {
        let file = find_executor_file(&data_dir, instance)?;
        let rendered = file.instances.get(instance).cloned().unwrap_or_default();
        let variables = variables(instance, &rendered, environment, job);
        let settings = expand(&file.executor, &variables).map_err(|error| {
            StageFailure::system_with_hint(
                chain(&error),
                "change `[executor]` and run `meta-configure render` again",
            )
        })?;
        let paths = job_paths(&settings, &rendered, environment)?;
        Ok(Self {
            environment: environment.clone(),
            data_dir,
            settings,
            instance_name: instance.clone(),
            instance: rendered,
            paths,
        })
    }
}

/// The built-ins, the instance's variables, and the node's environment, in which `CUSTOM_ENV_*` is GitLab's own.
fn variables(
    instance: &InstanceName,
    rendered: &ExecutorInstance,
    environment: &Environment,
    job: &Job,
) -> Variables {
    let builtins = BTreeMap::from([
        ("NAME".to_owned(), instance.to_string()),
        ("THIS".to_owned(), environment.beside("gitlab-meta-runner").display().to_string()),
        ("EXECUTOR".to_owned(), environment.beside("meta-executor").display().to_string()),
    ]);
    let mut node: BTreeMap<String, String> = environment.variables.clone();
    node.retain(|name, _| !name.starts_with("CUSTOM_ENV_"));
    node.extend(job.custom_environment());
    Variables { builtins, config_variables: rendered.config_variables.clone(), environment: node }
}

fn find_executor_file(data_dir: &Path, instance: &InstanceName) -> Result<ExecutorFile, StageFailure> {
    let hint = "run `gitlab-meta-runner configure` on the login node; the data directory must be visible on the compute nodes";
    let entries = fs::read_dir(data_dir).map_err(|error| {
        StageFailure::system_with_hint(
            format!("cannot read the data directory `{}`: {error}", data_dir.display()),
            hint,
        )
    })?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".executor.toml"))
        .collect();
    paths.sort();
    let mut found: Option<(PathBuf, ExecutorFile)> = None;
    for path in paths {
        let text = read_private(&path).map_err(|error| StageFailure::system(&error))?;
        let file = executor_file::parse(&path, &text)
            .map_err(|problems| StageFailure::system_with_hint(problems.to_string(), hint))?;
        if !file.instances.contains_key(instance) {
            continue;
        }
        if let Some((other, _)) = &found {
            let text =
                format!("`{instance}` is in two files: `{}` and `{}`", other.display(), path.display());
            return Err(StageFailure::system_with_hint(
                text,
                "give each meta-runner a data directory of its own",
            ));
        }
        found = Some((path, file));
    }
    found.map(|(_, file)| file).ok_or_else(|| {
        let text = format!("no `*.executor.toml` in `{}` has the instance `{instance}`", data_dir.display());
        StageFailure::system_with_hint(text, hint)
    })
}

/// The job's directories, named after gitlab-runner's temporary directory, which no job can choose.
fn job_paths(
    settings: &ExecutorSettings,
    rendered: &ExecutorInstance,
    environment: &Environment,
) -> Result<JobPaths, StageFailure> {
    let node_dir = settings
        .node_dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("/var/tmp/gitlab-meta-runner-{}", environment.uid)));
    let builds_dir = settings
        .builds_dir
        .clone()
        .or_else(|| rendered.builds_dir.clone())
        .unwrap_or_else(|| node_dir.join("builds"));
    let temporary = environment
        .variables
        .get("JOB_RESPONSE_FILE")
        .and_then(|file| Path::new(file).parent()?.file_name()?.to_str())
        .ok_or_else(|| StageFailure::system(&crate::job::JobError::NoFile))?;
    let name = format!("{}-{temporary}", environment.hostname);
    Ok(JobPaths {
        job: builds_dir.join(&name),
        overlay: node_dir.join("overlay").join(&name),
        builds_dir,
        node_dir,
    })
}
