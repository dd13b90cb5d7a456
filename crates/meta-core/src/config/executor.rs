//! `[executor]`: how jobs run on the node. Nothing is expanded before it is used there.

use super::service::{ServiceConfig, read_services};
use crate::reader::Section;
use crate::template::{Template, Use};

/// `[executor]` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutorConfig {
    /// One directory per job is made here.
    pub builds_dir: Option<Template>,
    /// Images that several nodes may share.
    pub image_dir: Option<Template>,
    /// Layers and blobs.
    pub image_cache_dir: Option<Template>,
    /// Scratch space of pulls.
    pub image_tmp_dir: Option<Template>,
    /// Bytes of images that are kept.
    pub image_max_size: Option<u64>,
    /// The node's own directory.
    pub node_dir: Option<Template>,
    /// One or more policies, tried in order.
    pub pull_policy: Option<Vec<Template>>,
    /// What a job may ask for.
    pub allowed_pull_policies: Option<Vec<Template>>,
    /// For jobs without `image:`.
    pub image: Option<Template>,
    /// Whether jobs must leave the entrypoints of images as they are.
    pub disable_entrypoint_overwrite: bool,
    /// Globs; without them all images.
    pub allowed_images: Option<Vec<Template>>,
    /// Services of every job.
    pub services: Vec<ServiceConfig>,
    /// Globs of the services that jobs may ask for; without them all images.
    pub allowed_services: Option<Vec<Template>>,
    /// How many services a job may have.
    pub services_limit: Option<i64>,
    /// Seconds until services that do not answer are given up; 0: they are not waited for.
    pub wait_for_services_timeout: Option<u64>,
    /// The program, `apptainer` without it.
    pub apptainer_executable: Option<Template>,
    /// Whether AMD GPUs are handed in.
    pub gpu_amd: Flag,
    /// Whether NVIDIA GPUs are handed in.
    pub gpu_nvidia: Flag,
    /// `SRC:DST[:ro]`.
    pub mount: Vec<Template>,
    /// What the job log says about the place.
    pub description: Option<Template>,
    /// Where helper stages run.
    pub helper: Helper,
    /// The image of helper stages.
    pub helper_image: Option<Template>,
    /// Which network a job sees.
    pub network: Network,
    /// How jobs are isolated.
    pub level: Level,
    /// Whether the job sees the host's paths.
    pub same_paths: bool,
    /// Whether checkouts stay for the next job.
    pub keep_builds: bool,
    /// Variables that reach the job; without it the default of the contract.
    pub pass_env: Option<Vec<String>>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Registries that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// PEM file with the certificates of registries to trust.
    pub registry_ca_file: Option<Template>,
}

/// A switch, or a template that expands to `true` or `false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flag {
    /// Written as a boolean.
    Fixed(bool),
    /// Decided on the node.
    Template(Template),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Fixed(false)
    }
}

/// Where helper stages run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Helper {
    /// With the node's own tools.
    #[default]
    Host,
    /// In `helper_image`.
    Image,
}

/// Which network a job sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// The job's own where it has services and that works, else the host's.
    #[default]
    Auto,
    /// The host's.
    Host,
    /// The job's own.
    Own,
}

/// How jobs are isolated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// The best that the node allows.
    #[default]
    Auto,
    /// User namespace with a range of ids.
    A,
    /// User namespace with one id.
    B,
    /// Apptainer alone.
    C,
}

/// The words of the configuration for [`Helper`], [`Network`] and [`Level`].
pub(crate) const HELPERS: &[(&str, Helper)] = &[("host", Helper::Host), ("image", Helper::Image)];
pub(crate) const NETWORKS: &[(&str, Network)] =
    &[("auto", Network::Auto), ("host", Network::Host), ("own", Network::Own)];
pub(crate) const LEVELS: &[(&str, Level)] =
    &[("auto", Level::Auto), ("A", Level::A), ("B", Level::B), ("C", Level::C)];

pub(crate) fn read(section: Section<'_>) -> ExecutorConfig {
    let config = ExecutorConfig {
        builds_dir: section.template("builds_dir", Use::Path),
        image_dir: section.template("image_dir", Use::Path),
        image_cache_dir: section.template("image_cache_dir", Use::Path),
        image_tmp_dir: section.template("image_tmp_dir", Use::Path),
        image_max_size: section.positive("image_max_size", " bytes"),
        node_dir: section.template("node_dir", Use::Path),
        pull_policy: section.one_or_more_templates("pull_policy"),
        allowed_pull_policies: section.templates("allowed_pull_policies", Use::Text),
        image: section.template("image", Use::Text),
        disable_entrypoint_overwrite: section.bool("disable_entrypoint_overwrite").unwrap_or(false),
        allowed_images: section.templates("allowed_images", Use::Text),
        services: read_services(&section),
        allowed_services: section.templates("allowed_services", Use::Text),
        services_limit: section.integer("services_limit", 0, ""),
        wait_for_services_timeout: section.seconds("wait_for_services_timeout", 0),
        apptainer_executable: section.template("apptainer_executable", Use::Path),
        gpu_amd: read_flag(&section, "gpu_amd"),
        gpu_nvidia: read_flag(&section, "gpu_nvidia"),
        mount: section.templates("mount", Use::Path).unwrap_or_default(),
        description: section.template("description", Use::Text),
        helper: section.word("helper", HELPERS).unwrap_or_default(),
        helper_image: section.template("helper_image", Use::Text),
        network: section.word("network", NETWORKS).unwrap_or_default(),
        level: section.word("level", LEVELS).unwrap_or_default(),
        same_paths: section.bool("same_paths").unwrap_or(false),
        keep_builds: section.bool("keep_builds").unwrap_or(false),
        pass_env: section.strings("pass_env").map(without_places),
        shm_size: section.positive("shm_size", " bytes"),
        insecure_registries: section.strings("insecure_registries").map(without_places).unwrap_or_default(),
        registry_ca_file: section.template("registry_ca_file", Use::Path),
    };
    check_helper(&section, &config);
    section.finish();
    config
}

fn check_helper(section: &Section<'_>, config: &ExecutorConfig) {
    match (config.helper, &config.helper_image) {
        (Helper::Image, None) => {
            section.missing(
                "helper_image",
                "name an image with git and gitlab-runner-helper, or remove `helper = \"image\"`",
            );
        }
        (Helper::Host, Some(_)) => section.reader().problem(
            section.key_span("helper_image"),
            "`executor.helper_image` has no effect with `helper = \"host\"`".to_owned(),
            "add `helper = \"image\"`, or remove `helper_image`",
        ),
        _ => {}
    }
}

fn without_places<P>(strings: Vec<(String, P)>) -> Vec<String> {
    strings.into_iter().map(|(text, _)| text).collect()
}

fn read_flag(section: &Section<'_>, key: &'static str) -> Flag {
    match section.get(key) {
        Some(item) if item.is_str() => {
            section.template(key, Use::Text).map_or_else(Flag::default, Flag::Template)
        }
        _ => section.bool(key).map_or_else(Flag::default, Flag::Fixed),
    }
}
