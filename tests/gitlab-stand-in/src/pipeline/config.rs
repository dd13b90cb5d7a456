//! A whole configuration: stages, defaults, `extends`, and the jobs.

use super::job_spec::{read_job, variables_of};
use super::node::Node;
use super::spec::{JobSpec, Variable};
use super::yaml::parse_yaml;

/// Keys of the file that are not jobs.
const RESERVED: [&str; 10] = [
    "default",
    "stages",
    "variables",
    "workflow",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "include",
];
/// What a job takes from `default:` or, by old custom, from the top of the file.
const INHERITED: [&str; 11] = [
    "image",
    "services",
    "before_script",
    "after_script",
    "tags",
    "cache",
    "artifacts",
    "retry",
    "timeout",
    "interruptible",
    "hooks",
];

/// Why a configuration is refused, in GitLab's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

impl ConfigError {
    pub(super) fn new(place: &str, text: &str) -> Self {
        Self(format!("{place} {text}"))
    }
}

/// Stage names in order, and the jobs in the order of stages, then of the file.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) stages: Vec<String>,
    pub(crate) jobs: Vec<JobSpec>,
}

/// Reads the text of a `.gitlab-ci.yml`.
pub(crate) fn parse_config(text: &str) -> Result<Config, ConfigError> {
    let root = parse_yaml(text)?;
    for key in ["include", "workflow"] {
        if root.get(key).is_some() {
            return Err(ConfigError::new("root", &format!("the stand-in does not support `{key}`")));
        }
    }
    let stages = stages_of(&root)?;
    let globals = variables_of(root.get("variables"), "variables")?;
    let mut jobs = Vec::new();
    for (name, node) in root.entries() {
        if RESERVED.contains(&name.as_str()) || name.starts_with('.') {
            continue;
        }
        jobs.push(job_of(&root, name, node, &globals)?);
    }
    if jobs.is_empty() {
        return Err(ConfigError::new("jobs", "config should contain at least one visible job"));
    }
    check_references(&stages, &jobs)?;
    jobs.sort_by_key(|job| stages.iter().position(|stage| *stage == job.stage));
    Ok(Config { stages, jobs })
}

/// A configuration of one job, given as its keys.
pub(crate) fn single_job(name: &str, node: &Node) -> Result<Config, ConfigError> {
    let job = read_job(name, node, &[])?;
    Ok(Config { stages: vec![job.stage.clone()], jobs: vec![job] })
}

fn stages_of(root: &Node) -> Result<Vec<String>, ConfigError> {
    let named = match root.get("stages") {
        Some(list) => list.texts("stages")?,
        None => ["build", "test", "deploy"].map(str::to_owned).to_vec(),
    };
    let middle = named.into_iter().filter(|stage| stage != ".pre" && stage != ".post");
    Ok(std::iter::once(".pre".to_owned()).chain(middle).chain(std::iter::once(".post".to_owned())).collect())
}

fn job_of(root: &Node, name: &str, node: &Node, globals: &[Variable]) -> Result<JobSpec, ConfigError> {
    let extended = extend(root, node, &format!("jobs:{name}"), 10)?;
    let Node::Map(mut entries) = follow_references(root, &extended, 10)? else {
        return Err(ConfigError::new(&format!("jobs:{name}"), "config should be a hash"));
    };
    for key in INHERITED {
        let default = root.get("default").and_then(|default| default.get(key)).or_else(|| root.get(key));
        if let Some(default) = default
            && !entries.iter().any(|(known, _)| known == key)
        {
            entries.push((key.to_owned(), follow_references(root, default, 10)?));
        }
    }
    read_job(name, &Node::Map(entries), globals)
}

/// Merges what the node `extends`, deeply, its own values last.
fn extend(root: &Node, node: &Node, place: &str, depth: u8) -> Result<Node, ConfigError> {
    let Some(bases) = node.get("extends") else { return Ok(node.clone()) };
    let mut merged = Node::Map(Vec::new());
    for base in bases.texts(place)? {
        let found = root.get(&base).filter(|_| depth > 0);
        let found =
            found.ok_or_else(|| ConfigError::new(place, &format!("unknown keys in `extends` ({base})")))?;
        merge(&mut merged, &extend(root, found, place, depth - 1)?);
    }
    merge(&mut merged, node);
    Ok(merged)
}

fn merge(into: &mut Node, from: &Node) {
    match (into, from) {
        (Node::Map(entries), Node::Map(others)) => {
            for (key, value) in others {
                match entries.iter_mut().find(|(known, _)| known == key) {
                    Some((_, known)) => merge(known, value),
                    None => entries.push((key.clone(), value.clone())),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Puts the values of `!reference` tags in their places.
fn follow_references(root: &Node, node: &Node, depth: u8) -> Result<Node, ConfigError> {
    Ok(match node {
        Node::Reference(path) => {
            let target = path.iter().try_fold(root, |node, key| node.get(key)).filter(|_| depth > 0);
            let missing = || ConfigError::new(&format!("!reference {path:?}"), "could not be found");
            follow_references(root, target.ok_or_else(missing)?, depth - 1)?
        }
        Node::List(items) => Node::List(
            items.iter().map(|item| follow_references(root, item, depth)).collect::<Result<_, _>>()?,
        ),
        Node::Map(entries) => {
            let follow =
                |(key, value): &(String, Node)| Ok((key.clone(), follow_references(root, value, depth)?));
            Node::Map(entries.iter().map(follow).collect::<Result<_, ConfigError>>()?)
        }
        other => other.clone(),
    })
}

fn check_references(stages: &[String], jobs: &[JobSpec]) -> Result<(), ConfigError> {
    let stage_of = |name: &str| jobs.iter().find(|job| job.name == name).map(|job| &job.stage);
    let index = |stage: &String| stages.iter().position(|known| known == stage);
    for job in jobs {
        let place = format!("{} job:", job.name);
        let Some(own) = index(&job.stage) else {
            let text = format!(
                "chosen stage {} does not exist; available stages are {}",
                job.stage,
                stages.join(", ")
            );
            return Err(ConfigError::new(&place, &text));
        };
        for name in job.dependencies.iter().flatten() {
            let stage = stage_of(name).and_then(index);
            let stage =
                stage.ok_or_else(|| ConfigError::new(&place, &format!("undefined dependency: {name}")))?;
            if stage >= own && job.needs.is_none() {
                let text = format!("dependency {name} is not defined in current or prior stages");
                return Err(ConfigError::new(&place, &text));
            }
        }
        for need in job.needs.iter().flatten().filter(|need| !need.optional) {
            if stage_of(&need.job).is_none() {
                return Err(ConfigError::new(&place, &format!("undefined need: {}", need.job)));
            }
        }
    }
    Ok(())
}
