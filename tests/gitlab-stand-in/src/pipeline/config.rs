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
/// What a job takes from `default:`; those that are reserved also, by old custom, from the top of the file.
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
        let at_top = || root.get(key).filter(|_| RESERVED.contains(&key));
        let default = root.get("default").and_then(|default| default.get(key)).or_else(at_top);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::spec::{AllowFailure, When};

    #[test]
    fn defaults_extends_anchors_and_references_come_together() {
        let text = "
default: {image: 'busybox:1', before_script: [echo default]}
variables: {A: global, VERSION: 1.10}
.base: &base
  tags: [slurm]
  variables: {B: base}
  script: [echo base]
unit:
  extends: .base
  variables: {A: own}
  script:
    - !reference [.base, script]
    - echo own
merged:
  <<: *base
  image: {name: 'debian:13', entrypoint: [''], docker: {user: app}, pull_policy: always}
  timeout: 1h 30m
";
        let config = parse_config(text).unwrap();
        let [unit, merged] = config.jobs.as_slice() else { panic!("{:?}", config.jobs) };
        assert_eq!(unit.script, ["echo default", "echo base", "echo own"]);
        let pairs: Vec<(&str, &str)> =
            unit.variables.iter().map(|v| (v.key.as_str(), v.value.as_str())).collect();
        assert_eq!(pairs, [("VERSION", "1.10"), ("B", "base"), ("A", "own")]);
        assert_eq!(unit.image.as_ref().unwrap().name, "busybox:1");
        assert_eq!((merged.tags.as_slice(), merged.timeout), (["slurm".to_owned()].as_slice(), Some(5400)));
        let image = merged.image.as_ref().unwrap();
        assert_eq!(
            (image.name.as_str(), image.pull_policy.as_slice()),
            ("debian:13", ["always".to_owned()].as_slice())
        );
        assert_eq!(image.docker, [("user".to_owned(), "app".to_owned())]);
    }

    #[test]
    fn a_job_may_be_called_like_a_keyword_of_jobs() {
        let config = parse_config("image: busybox:1\nretry: {script: x}\ntimeout: {script: y}").unwrap();
        let jobs: Vec<_> = config.jobs.iter().map(|job| (job.name.as_str(), job.retry.max == 0)).collect();
        assert_eq!(jobs, [("retry", true), ("timeout", true)]);
        assert!(config.jobs.iter().all(|job| job.image.is_some()));
    }

    #[test]
    fn jobs_are_in_the_order_of_their_stages() {
        let text = "
stages: [one, two]
late: {stage: two, script: x, when: manual, needs: [{job: early, artifacts: false}]}
early: {stage: one, script: x, services: ['redis:7', {name: 'postgres:16', alias: db}]}
.hidden: {script: x}
";
        let config = parse_config(text).unwrap();
        let names: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["early", "late"]);
        assert_eq!(config.stages, [".pre", "one", "two", ".post"]);
        assert_eq!(config.jobs[0].services[1].alias.as_deref(), Some("db"));
        assert_eq!((config.jobs[1].when, &config.jobs[1].allow_failure), (When::Manual, &AllowFailure::Yes));
        assert!(!config.jobs[1].needs.as_ref().unwrap()[0].artifacts);
    }

    #[test]
    fn artifacts_and_reports_are_uploads_of_their_own() {
        let text = "a: {script: x, artifacts: {paths: [out/], exclude: [out/tmp], expire_in: 1 week, reports: {junit: r.xml}}}";
        let job = &parse_config(text).unwrap().jobs[0];
        let kinds: Vec<(&str, &str)> =
            job.artifacts.iter().map(|a| (a.kind.as_str(), a.format.as_str())).collect();
        assert_eq!(kinds, [("archive", "zip"), ("junit", "gzip")]);
        assert_eq!(job.artifacts[0].expire_in.as_deref(), Some("1 week"));
    }

    #[test]
    fn mistakes_are_refused() {
        let check = |text: &str, expect: &str| {
            let error = parse_config(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("a: [", "Invalid configuration format");
        check("stages: [x]", "at least one visible job");
        check("a: {stage: build}", "script can't be blank");
        check("a: {script: x, stage: nowhere}", "chosen stage nowhere does not exist");
        check("a: {script: x, needs: [b]}", "undefined need: b");
        check("a: {script: x, imag: y}", "unknown keys: imag");
        check("a: {script: x, rules: []}", "does not support `rules`");
        check("a: {script: x, retry: 3}", "less than or equal to 2");
        check("a: {script: x, extends: .b}", "`extends` (.b)");
    }
}
