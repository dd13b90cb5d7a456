//! `[executor]` expanded: plain values for the node.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::executor::{ExecutorConfig, Flag, Helper, Level, Network};
use crate::config::service::{self, ServiceSettings};
use crate::template::{ExpandError, Expansion, Template};
use crate::variables::Variables;

/// Everything that the executor is told by `[executor]`. What is `None` has a default that depends on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorSettings {
    /// `None`: the instance's rendered `[runner] builds_dir`.
    pub builds_dir: Option<PathBuf>,
    /// Of unpacked images if it is on a disk of the node, else of their compressed layers. `None`: below `node_dir`.
    pub image_dir: Option<PathBuf>,
    /// Of compressed layers. `None`: `image_dir` if that is shared by nodes, else layers are not kept.
    pub image_cache_dir: Option<PathBuf>,
    /// `None`: below `node_dir`.
    pub image_tmp_dir: Option<PathBuf>,
    /// Bytes of images that a node keeps; `None`: all.
    pub image_max_size: Option<u64>,
    /// `None`: `/var/tmp/gitlab-meta-runner-UID`.
    pub node_dir: Option<PathBuf>,
    /// Tried in this order. Empty if the configuration says nothing: then docker's default, `always`.
    pub pull_policy: Vec<PullPolicy>,
    /// What a job may ask for, never empty.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// For jobs without `image:`.
    pub image: Option<String>,
    /// Whether an `entrypoint:` of the job is ignored.
    pub disable_entrypoint_overwrite: bool,
    /// Globs; empty: every image.
    pub allowed_images: Vec<String>,
    /// Services of every job.
    pub services: Vec<ServiceSettings>,
    /// Globs of the services that jobs may ask for; empty: every image.
    pub allowed_services: Vec<String>,
    /// How many services a job may have; `None`: any number.
    pub services_limit: Option<usize>,
    /// How long services may take until they answer; `None`: they are not waited for.
    pub wait_for_services: Option<Duration>,
    /// A path, or a name to look up in PATH.
    pub apptainer_executable: PathBuf,
    /// Whether AMD GPUs are handed in.
    pub gpu_amd: bool,
    /// Whether NVIDIA GPUs are handed in.
    pub gpu_nvidia: bool,
    /// What the job sees of the host.
    pub mount: Vec<Mount>,
    /// What the job log says about the place; may be empty.
    pub description: String,
    /// Where helper stages run.
    pub helper: Helper,
    /// The image of helper stages; `None` with [`Helper::Host`].
    pub helper_image: Option<String>,
    /// Which network a job sees.
    pub network: Network,
    /// How jobs are isolated.
    pub level: Level,
    /// Whether the job sees the host's paths.
    pub same_paths: bool,
    /// Whether checkouts stay for the next job.
    pub keep_builds: bool,
    /// Globs of variables that reach the job.
    pub pass_env: Vec<String>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// `host[:port]` of registries that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// PEM file with the certificates of registries to trust.
    pub registry_ca_file: Option<PathBuf>,
}

/// When an image is pulled, as in gitlab-runner's docker executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always ask the registry.
    Always,
    /// Only if it is not here.
    IfNotPresent,
    /// Only what is here.
    Never,
}

impl PullPolicy {
    /// The word of the configuration and of GitLab's `pull_policy:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        }
    }

    /// The policy of a word, as GitLab sends it.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Always, Self::IfNotPresent, Self::Never].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// A directory or file of the host that the job sees: `SRC:DST[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host, absolute.
    pub source: PathBuf,
    /// In the job, absolute.
    pub target: PathBuf,
    /// Whether the job may not write.
    pub read_only: bool,
}

/// What reaches the job without `pass_env`: the allocation and its GPUs.
const PASS_ENV: [&str; 4] =
    ["SLURM_*", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"];

/// Docker's default for `/dev/shm`, in bytes.
const SHM_SIZE: u64 = 64 << 20;

/// gitlab-runner's default.
const WAIT_FOR_SERVICES: Duration = Duration::from_secs(30);

/// Expands `[executor]`, on the node.
///
/// # Errors
/// Variables that are not set, and values that do not fit their keys.
pub fn expand(config: &ExecutorConfig, variables: &Variables) -> Result<ExecutorSettings, ExpandError> {
    let expansion = Expansion::new(variables);
    let text = |template: &Option<Template>| expansion.optional(template);
    let path = |template: &Option<Template>| text(template).map(PathBuf::from);
    let texts = |templates: &Option<Vec<Template>>| expansion.texts(templates.as_deref().unwrap_or_default());
    let policies = |templates: &Option<Vec<Template>>| -> Vec<PullPolicy> {
        let templates = templates.as_deref().unwrap_or_default();
        templates.iter().filter_map(|template| expansion.value(template, read_policy)).collect()
    };
    let pull_policy = policies(&config.pull_policy);
    let mut allowed_pull_policies = policies(&config.allowed_pull_policies);
    if allowed_pull_policies.is_empty() {
        allowed_pull_policies.clone_from(&pull_policy);
    }
    if allowed_pull_policies.is_empty() {
        allowed_pull_policies.push(PullPolicy::Always);
    }
    let flag = |flag: &Flag| match flag {
        Flag::Fixed(value) => *value,
        Flag::Template(template) => expansion.value(template, read_flag).unwrap_or(false),
    };
    let settings = ExecutorSettings {
        builds_dir: path(&config.builds_dir),
        image_dir: path(&config.image_dir),
        image_cache_dir: path(&config.image_cache_dir),
        image_tmp_dir: path(&config.image_tmp_dir),
        image_max_size: config.image_max_size,
        node_dir: path(&config.node_dir),
        pull_policy,
        allowed_pull_policies,
        image: text(&config.image).filter(|image| !image.is_empty()),
        disable_entrypoint_overwrite: config.disable_entrypoint_overwrite,
        allowed_images: texts(&config.allowed_images),
        services: config.services.iter().map(|service| service::expand(service, &expansion)).collect(),
        allowed_services: texts(&config.allowed_services),
        services_limit: config.services_limit.and_then(|limit| usize::try_from(limit).ok()),
        wait_for_services: Some(
            config.wait_for_services_timeout.map_or(WAIT_FOR_SERVICES, Duration::from_secs),
        )
        .filter(|limit| !limit.is_zero()),
        apptainer_executable: path(&config.apptainer_executable).unwrap_or_else(|| "apptainer".into()),
        gpu_amd: flag(&config.gpu_amd),
        gpu_nvidia: flag(&config.gpu_nvidia),
        mount: config.mount.iter().filter_map(|template| expansion.value(template, read_mount)).collect(),
        description: text(&config.description).unwrap_or_default(),
        helper: config.helper,
        helper_image: text(&config.helper_image),
        network: config.network,
        level: config.level,
        same_paths: config.same_paths,
        keep_builds: config.keep_builds,
        pass_env: config.pass_env.clone().unwrap_or_else(|| PASS_ENV.map(str::to_owned).to_vec()),
        shm_size: config.shm_size.unwrap_or(SHM_SIZE),
        insecure_registries: config.insecure_registries.clone(),
        registry_ca_file: path(&config.registry_ca_file),
    };
    expansion.finish(settings)
}

/// Why a text is not what its key wants, going on behind the key; and what to write.
type Refusal = (String, &'static str);

fn read_policy(word: &str) -> Result<PullPolicy, Refusal> {
    PullPolicy::from_word(word).ok_or_else(|| {
        (format!(" has no value `{word}`"), "write `\"always\"`, `\"if-not-present\"` or `\"never\"`")
    })
}

fn read_flag(word: &str) -> Result<bool, Refusal> {
    word.parse().map_err(|_| {
        (
            format!(" expands to `{word}`, and must be `true` or `false`"),
            "use a variable that is `true` or `false`, with a default: `\"${GPU:false}\"`",
        )
    })
}

fn read_mount(text: &str) -> Result<Mount, Refusal> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        [source, target, "rw"] => (source, target, false),
        _ => ("", "", false),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err((
            format!(" has no mount `{text}`"),
            "write two absolute paths: `\"/on/the/host:/in/the/job\"`, with `:ro` behind to forbid writing",
        ));
    }
    Ok(Mount { source: source.into(), target: target.into(), read_only })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::executor_file;

    fn expand_text(executor: &str) -> Result<ExecutorSettings, String> {
        let text = format!("version = 1\nname = \"x\"\n[executor]\n{executor}\n");
        let file = executor_file::parse(Path::new("x.executor.toml"), &text).unwrap();
        let mut variables = Variables::default();
        variables.environment.insert("HOME".to_owned(), "/home/ci".to_owned());
        variables.environment.insert("GPU".to_owned(), "true".to_owned());
        expand(&file.executor, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let settings = expand_text("").unwrap();
        assert_eq!(settings.pull_policy, []);
        assert_eq!(settings.allowed_pull_policies, [PullPolicy::Always]);
        assert_eq!(settings.apptainer_executable, Path::new("apptainer"));
        assert_eq!((settings.shm_size, settings.gpu_amd, settings.builds_dir), (67_108_864, false, None));
        assert_eq!(settings.pass_env[0], "SLURM_*");
    }

    #[test]
    fn what_may_be_asked_for_follows_what_is_done() {
        let settings = expand_text("pull_policy = [\"if-not-present\", \"${NO:never}\"]").unwrap();
        assert_eq!(settings.pull_policy, [PullPolicy::IfNotPresent, PullPolicy::Never]);
        assert_eq!(settings.allowed_pull_policies, settings.pull_policy);
        assert_eq!(
            expand_text("pull_policy = \"often\"").unwrap_err(),
            "`executor.pull_policy` has no value `often`"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = "pull_policy = \"alwys\"\nmount = [\"a\", \"$X:/b\"]\ngpu_amd = \"$Y\"\nservices = [{ name = \"$Z\" }]";
        assert_eq!(
            expand_text(text).unwrap_err(),
            "`executor.pull_policy` has no value `alwys`; `executor.services.name`: `$Z` is not set; \
             `executor.gpu_amd`: `$Y` is not set; `executor.mount` has no mount `a`; `executor.mount`: `$X` is not set"
        );
    }

    #[test]
    fn services_are_waited_for_unless_the_limit_is_0() {
        let wait = |text: &str| expand_text(text).unwrap().wait_for_services.map(|limit| limit.as_secs());
        assert_eq!(wait(""), Some(30));
        assert_eq!(wait("wait_for_services_timeout = 90"), Some(90));
        assert_eq!(wait("wait_for_services_timeout = 0"), None);
        assert_eq!(expand_text("services_limit = 0").unwrap().services_limit, Some(0));
    }

    #[test]
    fn a_switch_may_be_a_template() {
        let settings = expand_text("gpu_amd = \"$GPU\"\ngpu_nvidia = \"${NO:false}\"").unwrap();
        assert_eq!((settings.gpu_amd, settings.gpu_nvidia), (true, false));
        let error = expand_text("gpu_amd = \"1\"").unwrap_err();
        assert_eq!(error, "`executor.gpu_amd` expands to `1`, and must be `true` or `false`");
    }

    #[test]
    fn mounts() {
        let settings = expand_text("mount = [\"~/a:/b\", \"/data:/data:ro\"]").unwrap();
        let mount = |source: &str, target: &str, read_only| Mount {
            source: source.into(),
            target: target.into(),
            read_only,
        };
        assert_eq!(settings.mount, [mount("/home/ci/a", "/b", false), mount("/data", "/data", true)]);
        for bad in ["/a", "a:/b", "/a:b", "/a:/b:rx", "/a:/b:ro:z"] {
            let error = expand_text(&format!("mount = [\"{bad}\"]")).unwrap_err();
            assert_eq!(error, format!("`executor.mount` has no mount `{bad}`"));
        }
    }
}
