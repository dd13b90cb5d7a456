//! The format of `NAME.executor.toml` (contracts, section 1): what compute nodes read of our configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml_edit::{Array, Document, DocumentMut, Item, Table, Value};

use crate::config::executor::{self, ExecutorConfig, Flag};
use crate::config::instances::read_config_variables;
use crate::config::service;
use crate::config::syntax_problem;
use crate::name::{InstanceName, MetaRunnerName};
use crate::reader::{Reader, Section};
use crate::source::{Problems, SourceFile};
use crate::template::Template;

/// The file as a value. It holds no token.
#[derive(Debug, Clone)]
pub struct ExecutorFile {
    /// The meta-runner.
    pub name: MetaRunnerName,
    /// Not expanded.
    pub executor: ExecutorConfig,
    /// What differs between instances.
    pub instances: BTreeMap<InstanceName, ExecutorInstance>,
    /// The text that was read, for reports on its templates.
    pub source: SourceFile,
}

/// What the node must know of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutorInstance {
    /// `[runner] builds_dir`, expanded.
    pub builds_dir: Option<PathBuf>,
    /// `[runner] cache_dir`, expanded.
    pub cache_dir: Option<PathBuf>,
    /// Taken as written.
    pub config_variables: BTreeMap<String, String>,
}

/// The only version there is.
const VERSION: i64 = 1;

/// Reads the file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str) -> Result<ExecutorFile, Problems> {
    let source = SourceFile { path: path.to_owned(), text: text.to_owned() };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return Err(Problems::new(source, vec![syntax_problem(&error)])),
    };
    let reader = Reader::new(text);
    let file = read(&reader.root(document.as_table()), &source);
    let problems = reader.into_problems();
    match file {
        Some(file) if problems.is_empty() => Ok(file),
        _ => Err(Problems::new(source, problems)),
    }
}

impl ExecutorFile {
    /// The file's text. [`parse`] reads it back.
    pub fn render(&self) -> String {
        let mut document = DocumentMut::new();
        document["version"] = VERSION.into();
        document["name"] = self.name.as_str().into();
        document["executor"] =
            Item::Table(executor_table(&self.executor, &|template| template.text().to_owned()));
        let mut instances = Table::new();
        instances.set_implicit(true);
        for (name, instance) in &self.instances {
            instances.insert(name.as_str(), Item::Table(render_instance(instance)));
        }
        document["instances"] = Item::Table(instances);
        document.to_string()
    }
}

fn render_instance(instance: &ExecutorInstance) -> Table {
    let mut table = Table::new();
    for (key, path) in [("builds_dir", &instance.builds_dir), ("cache_dir", &instance.cache_dir)] {
        if let Some(path) = path {
            table.insert(key, path.to_string_lossy().as_ref().into());
        }
    }
    if !instance.config_variables.is_empty() {
        let variables: Table =
            instance.config_variables.iter().map(|(key, value)| (key, Item::from(value))).collect();
        table.insert("config_variables", Item::Table(variables));
    }
    table
}

/// `[executor]` with each template as `shown` makes it. Only what is given is written, so that the executor's own version
/// decides about defaults.
pub fn executor_table(config: &ExecutorConfig, shown: &dyn Fn(&Template) -> String) -> Table {
    // By name, so that the compiler asks about a new one.
    let ExecutorConfig {
        builds_dir,
        image_dir,
        image_cache_dir,
        image_tmp_dir,
        image_max_size,
        node_dir,
        pull_policy,
        allowed_pull_policies,
        image,
        disable_entrypoint_overwrite,
        allowed_images,
        services,
        allowed_services,
        services_limit,
        wait_for_services_timeout,
        apptainer_executable,
        gpu_amd,
        gpu_nvidia,
        mount,
        description,
        helper,
        helper_image,
        network,
        level,
        same_paths,
        keep_builds,
        pass_env,
        shm_size,
        insecure_registries,
        registry_ca_file,
    } = config;
    let mut table = Table::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            table.insert(key, Item::Value(value));
        }
    };
    let text = |template: &Option<Template>| template.as_ref().map(|template| Value::from(shown(template)));
    let texts = |templates: &[Template]| Value::from(templates.iter().map(shown).collect::<Array>());
    let strings = |strings: &[String]| Value::from(strings.iter().collect::<Array>());
    let number = |number: u64| i64::try_from(number).ok().map(Value::from);
    let flag = |flag: &Flag| match flag {
        Flag::Fixed(value) => value.then_some(Value::from(true)),
        Flag::Template(template) => Some(shown(template).into()),
    };
    put("builds_dir", text(builds_dir));
    put("image_dir", text(image_dir));
    put("image_cache_dir", text(image_cache_dir));
    put("image_tmp_dir", text(image_tmp_dir));
    put("image_max_size", image_max_size.and_then(number));
    put("node_dir", text(node_dir));
    put("pull_policy", pull_policy.as_deref().map(texts));
    put("allowed_pull_policies", allowed_pull_policies.as_deref().map(texts));
    put("image", text(image));
    put("disable_entrypoint_overwrite", disable_entrypoint_overwrite.then_some(true.into()));
    put("allowed_images", allowed_images.as_deref().map(texts));
    put("services", (!services.is_empty()).then(|| service::render(services, shown)));
    put("allowed_services", allowed_services.as_deref().map(texts));
    put("services_limit", services_limit.map(Value::from));
    put("wait_for_services_timeout", wait_for_services_timeout.and_then(number));
    put("apptainer_executable", text(apptainer_executable));
    put("gpu_amd", flag(gpu_amd));
    put("gpu_nvidia", flag(gpu_nvidia));
    put("mount", (!mount.is_empty()).then(|| texts(mount)));
    put("description", text(description));
    put("helper", changed(executor::HELPERS, *helper));
    put("helper_image", text(helper_image));
    put("network", changed(executor::NETWORKS, *network));
    put("level", changed(executor::LEVELS, *level));
    put("same_paths", same_paths.then_some(true.into()));
    put("keep_builds", keep_builds.then_some(true.into()));
    put("pass_env", pass_env.as_deref().map(strings));
    put("shm_size", shm_size.and_then(number));
    put("insecure_registries", (!insecure_registries.is_empty()).then(|| strings(insecure_registries)));
    put("registry_ca_file", text(registry_ca_file));
    table
}

/// The word of a value that is not the default.
fn changed<T: PartialEq + Default>(words: &[(&str, T)], value: T) -> Option<Value> {
    words
        .iter()
        .find(|(_, named)| *named == value && value != T::default())
        .map(|(word, _)| Value::from(*word))
}

const HINT: &str = "write the file anew: `meta-configure render`";

fn read(root: &Section<'_>, source: &SourceFile) -> Option<ExecutorFile> {
    let version = root.integer("version", VERSION, "");
    if version != Some(VERSION) {
        let message = "this version of the file is not known here".to_owned();
        root.reader().problem(root.key_span("version"), message, HINT);
    }
    let name = root.string("name").and_then(|(text, _)| text.parse().ok());
    if name.is_none() {
        root.missing("name", HINT);
    }
    let executor = root.section("executor").map(executor::read).unwrap_or_default();
    let instances = root.section("instances").map(|section| read_instances(&section)).unwrap_or_default();
    root.finish();
    Some(ExecutorFile { name: name?, executor, instances, source: source.clone() })
}

fn read_instances(section: &Section<'_>) -> BTreeMap<InstanceName, ExecutorInstance> {
    let mut instances = BTreeMap::new();
    for (key, item) in section.table().iter() {
        let Some(instance) = section.section_of(key, item) else { continue };
        let path = |key| instance.string(key).map(|(text, _)| PathBuf::from(text));
        let value = ExecutorInstance {
            builds_dir: path("builds_dir"),
            cache_dir: path("cache_dir"),
            config_variables: instance
                .section("config_variables")
                .map(read_config_variables)
                .unwrap_or_default(),
        };
        instance.finish();
        match key.parse::<InstanceName>() {
            Ok(name) => {
                instances.insert(name, value);
            }
            Err(error) => section.reader().problem(section.key_span(key), error.to_string(), HINT),
        }
    }
    instances
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::config;

    fn file_of(sample: &str) -> ExecutorFile {
        let config = config::parse(Path::new("sample.toml"), sample).unwrap();
        let instance = |variables: &BTreeMap<String, String>| ExecutorInstance {
            builds_dir: Some("/home/ci/builds/".into()),
            cache_dir: None,
            config_variables: variables.clone(),
        };
        ExecutorFile {
            name: config.name,
            executor: config.executor.unwrap_or_default(),
            instances: config
                .instances
                .iter()
                .map(|(k, v)| (k.clone(), instance(&v.config_variables)))
                .collect(),
            source: config.source,
        }
    }

    #[test]
    fn the_seed_as_the_node_reads_it() {
        let file = file_of(include_str!("../../../tests/configs/valid/seed.toml"));
        expect![[r#"
            version = 1
            name = "meta-runner"

            [executor]
            builds_dir = "$HOME/builds"
            image_dir = "$HOME/images"
            image_cache_dir = "$HOME/image_cache"
            image_tmp_dir = "$HOME/image_tmp"
            pull_policy = ["if-not-present"]
            apptainer_executable = "apptainer"
            description = "Slurm job $SLURM_JOB_ID"

            [instances.test-runner]
            builds_dir = "/home/ci/builds/"

            [instances.test-runner.config_variables]
            VARIABLE = "value"
        "#]]
        .assert_eq(&file.render());
    }

    #[test]
    fn everything_comes_back() {
        for sample in [
            include_str!("../../../tests/configs/valid/seed.toml"),
            include_str!("../../../tests/configs/valid/group.toml"),
        ] {
            let file = file_of(sample);
            let text = file.render();
            let back =
                parse(Path::new("x.executor.toml"), &text).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!((back.name.clone(), &back.executor), (file.name, &file.executor));
            assert_eq!(back.instances, file.instances);
            assert_eq!(back.render(), text);
        }
    }

    #[test]
    fn no_key_is_lost() {
        let executor = r#"[executor]
builds_dir = "$B"
image_dir = "~/i"
image_cache_dir = "~/c"
image_tmp_dir = "~/t"
image_max_size = 1
node_dir = "/n"
pull_policy = ["always"]
allowed_pull_policies = ["never"]
image = "i"
disable_entrypoint_overwrite = true
allowed_images = ["a"]
services = [{ name = "s" }]
allowed_services = ["b"]
services_limit = 2
wait_for_services_timeout = 3
apptainer_executable = "~/bin/apptainer"
gpu_amd = true
gpu_nvidia = "$G"
mount = ["/a:/b"]
description = "d"
helper = "image"
helper_image = "h"
network = "own"
level = "B"
same_paths = true
keep_builds = true
pass_env = ["P"]
shm_size = 4
insecure_registries = ["r"]
registry_ca_file = "~/ca"
"#;
        let seed = include_str!("../../../tests/configs/valid/seed.toml");
        let before = seed.split("[executor]").next().unwrap();
        let file = file_of(&format!("{before}{executor}\n[runner]\nexecutor = \"custom\"\n"));
        let rendered = file.render();
        let (_, rendered) = rendered.split_once("[executor]").unwrap();
        assert_eq!(format!("[executor]{}\n", rendered.split("\n\n").next().unwrap()), executor);
    }

    #[test]
    fn another_version_is_refused() {
        let problems = parse(Path::new("x.executor.toml"), "version = 2\nname = \"x\"").unwrap_err();
        expect![[r#"
            error: this version of the file is not known here
              --> x.executor.toml:1:1
              |
            1 | version = 2
              | ^^^^^^^
            hint: write the file anew: `meta-configure render`"#]]
        .assert_eq(&problems.to_string());
    }
}
