//! Reads one job's keys.

use jiff::{Span, SpanRelativeTo, Unit};

use super::config::ConfigError;
use super::node::Node;
use super::spec::{
    AllowFailure, ArtifactSpec, CacheKey, CacheSpec, ImageSpec, JobSpec, Need, RetrySpec, ServiceSpec,
    Variable, When,
};

/// Keys that have no effect on what a runner is sent.
const WITHOUT_EFFECT: [&str; 4] = ["interruptible", "coverage", "resource_group", "extends"];
/// Keys that are read below.
const KNOWN: [&str; 20] = [
    "script",
    "before_script",
    "after_script",
    "stage",
    "image",
    "services",
    "variables",
    "tags",
    "artifacts",
    "cache",
    "dependencies",
    "needs",
    "allow_failure",
    "when",
    "retry",
    "timeout",
    "hooks",
    "environment",
    "interruptible",
    "release",
];
/// Keys that GitLab has and the stand-in lacks.
const LACKING: [&str; 11] = [
    "rules",
    "only",
    "except",
    "parallel",
    "trigger",
    "inherit",
    "secrets",
    "id_tokens",
    "pages",
    "run",
    "start_in",
];

/// Reports that a runner uploads: kind, file name and format.
const REPORTS: [(&str, &str, &str); 3] =
    [("junit", "junit.xml", "gzip"), ("dotenv", ".env", "gzip"), ("terraform", "tfplan.json", "raw")];

/// Reads the job `name` from `node`, into which defaults have been merged; `globals` are the file's variables.
pub(super) fn read_job(name: &str, node: &Node, globals: &[Variable]) -> Result<JobSpec, ConfigError> {
    let place = format!("jobs:{name}");
    check_keys(&place, node)?;
    let at = |key: &str| format!("{place}:{key}");
    let script = node.get("script").ok_or_else(|| ConfigError::new(&place, "script can't be blank"))?;
    let mut lines = script_of(node.get("before_script"), &at("before_script"))?;
    lines.extend(script.script(&at("script"))?);
    let when = when_of(node.get("when"), &at("when"))?;
    let hooks = node.get("hooks").and_then(|hooks| hooks.get("pre_get_sources_script"));
    Ok(JobSpec {
        name: name.to_owned(),
        stage: node.get("stage").map_or(Ok("test".to_owned()), |stage| stage.text(&at("stage")))?,
        tags: list_of(node.get("tags"), &at("tags"))?,
        image: node.get("image").map(|image| image_of(image, &at("image"))).transpose()?,
        services: each(node.get("services"), |service| service_of(service, &at("services")))?,
        variables: merged(globals, variables_of(node.get("variables"), &at("variables"))?),
        script: lines,
        after_script: script_of(node.get("after_script"), &at("after_script"))?,
        release: node.get("release").map(|release| release_of(release, &at("release"))).transpose()?,
        pre_get_sources: script_of(hooks, &at("hooks:pre_get_sources_script"))?,
        artifacts: node
            .get("artifacts")
            .map_or(Ok(Vec::new()), |node| artifacts_of(node, &at("artifacts")))?,
        cache: each(node.get("cache"), |cache| cache_of(cache, &at("cache")))?,
        dependencies: node.get("dependencies").map(|list| list.texts(&at("dependencies"))).transpose()?,
        needs: node.get("needs").map(|needs| each(Some(needs), |n| need_of(n, &at("needs")))).transpose()?,
        allow_failure: allow_failure_of(node.get("allow_failure"), when, &at("allow_failure"))?,
        when,
        retry: node.get("retry").map_or(Ok(RetrySpec::default()), |retry| retry_of(retry, &at("retry")))?,
        timeout: node.get("timeout").map(|text| duration_of(text, &at("timeout"))).transpose()?,
        environment: node.get("environment").and_then(|e| e.get("name").unwrap_or(e).scalar()),
    })
}

/// Reads a `variables:` map; a value may be a scalar or a map with `value` and `expand`.
pub(super) fn variables_of(node: Option<&Node>, place: &str) -> Result<Vec<Variable>, ConfigError> {
    let entries = node.map(Node::entries).unwrap_or_default();
    let read = |(key, node): &(String, Node)| {
        let value = node.get("value").unwrap_or(node).text(&format!("{place}:{key}"))?;
        let raw = node.get("expand") == Some(&Node::Bool(false));
        Ok(Variable { raw, ..Variable::public(key, value) })
    };
    entries.iter().map(read).collect()
}

fn check_keys(place: &str, node: &Node) -> Result<(), ConfigError> {
    for (key, _) in node.entries() {
        if LACKING.contains(&key.as_str()) {
            return Err(ConfigError::new(place, &format!("the stand-in does not support `{key}`")));
        }
        if !KNOWN.contains(&key.as_str()) && !WITHOUT_EFFECT.contains(&key.as_str()) {
            return Err(ConfigError::new(place, &format!("config contains unknown keys: {key}")));
        }
    }
    Ok(())
}

fn merged(globals: &[Variable], own: Vec<Variable>) -> Vec<Variable> {
    let mut all: Vec<Variable> =
        globals.iter().filter(|global| own.iter().all(|v| v.key != global.key)).cloned().collect();
    all.extend(own);
    all
}

fn script_of(node: Option<&Node>, place: &str) -> Result<Vec<String>, ConfigError> {
    node.filter(|node| **node != Node::Null).map_or(Ok(Vec::new()), |node| node.script(place))
}

fn list_of(node: Option<&Node>, place: &str) -> Result<Vec<String>, ConfigError> {
    node.map_or(Ok(Vec::new()), |node| node.texts(place))
}

/// Reads one entry or a list of entries.
fn each<T>(
    node: Option<&Node>,
    read: impl Fn(&Node) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    match node {
        None | Some(Node::Null) => Ok(Vec::new()),
        Some(Node::List(items)) => items.iter().map(read).collect(),
        Some(one) => Ok(vec![read(one)?]),
    }
}

fn image_of(node: &Node, place: &str) -> Result<ImageSpec, ConfigError> {
    let Some(name) = node.get("name") else {
        return Ok(ImageSpec { name: node.text(place)?, ..ImageSpec::default() });
    };
    let docker = node.get("docker").map(Node::entries).unwrap_or_default();
    let option = |(key, value): &(String, Node)| Ok((key.clone(), value.text(place)?));
    Ok(ImageSpec {
        name: name.text(place)?,
        entrypoint: node.get("entrypoint").map(|list| list.texts(place)).transpose()?,
        pull_policy: list_of(node.get("pull_policy"), place)?,
        docker: docker.iter().map(option).collect::<Result<_, _>>()?,
    })
}

fn service_of(node: &Node, place: &str) -> Result<ServiceSpec, ConfigError> {
    Ok(ServiceSpec {
        image: image_of(node, place)?,
        alias: node.get("alias").map(|alias| alias.text(place)).transpose()?,
        command: node.get("command").map(|list| list.texts(place)).transpose()?,
        variables: variables_of(node.get("variables"), place)?,
    })
}

fn artifacts_of(node: &Node, place: &str) -> Result<Vec<ArtifactSpec>, ConfigError> {
    let text = |key: &str| node.get(key).map(|value| value.text(place)).transpose();
    let expire_in = text("expire_in")?;
    let mut found = Vec::new();
    let archive = ArtifactSpec {
        name: text("name")?,
        untracked: node.get("untracked").map_or(Ok(false), |value| value.bool(place))?,
        paths: list_of(node.get("paths"), place)?,
        exclude: list_of(node.get("exclude"), place)?,
        when: text("when")?.unwrap_or_else(|| "on_success".to_owned()),
        expire_in: expire_in.clone(),
        kind: "archive".to_owned(),
        format: "zip".to_owned(),
    };
    if archive.untracked || !archive.paths.is_empty() {
        found.push(archive);
    }
    // Of the reports only those that a runner uploads like an artifact and a test may look at.
    for (kind, file, format) in REPORTS {
        if let Some(paths) = node.get("reports").and_then(|reports| reports.get(kind)) {
            found.push(ArtifactSpec {
                name: Some(file.to_owned()),
                untracked: false,
                paths: paths.texts(place)?,
                exclude: Vec::new(),
                when: "always".to_owned(),
                expire_in: expire_in.clone(),
                kind: kind.to_owned(),
                format: format.to_owned(),
            });
        }
    }
    Ok(found)
}

fn cache_of(node: &Node, place: &str) -> Result<CacheSpec, ConfigError> {
    let text = |key: &str, default: &str| {
        node.get(key).map_or(Ok(default.to_owned()), |value| value.text(&format!("{place}:{key}")))
    };
    let key = match node.get("key") {
        Some(key) if key.get("files").is_some() => CacheKey::Files {
            prefix: key.get("prefix").map_or(Ok(String::new()), |prefix| prefix.text(place))?,
            files: list_of(key.get("files"), place)?,
        },
        _ => CacheKey::Text(text("key", "default")?),
    };
    Ok(CacheSpec {
        key,
        untracked: node.get("untracked").map_or(Ok(false), |value| value.bool(place))?,
        paths: list_of(node.get("paths"), place)?,
        policy: text("policy", "pull-push")?,
        when: text("when", "on_success")?,
        fallback_keys: list_of(node.get("fallback_keys"), place)?,
    })
}

/// The command of the step that GitLab adds for `release:`, by its first and simplest form.
fn release_of(node: &Node, place: &str) -> Result<String, ConfigError> {
    let mut command = "release-cli create".to_owned();
    for (key, flag) in
        [("name", "name"), ("description", "description"), ("tag_name", "tag-name"), ("ref", "ref")]
    {
        if let Some(value) = node.get(key) {
            command.push_str(&format!(" --{flag} \"{}\"", value.text(place)?));
        }
    }
    Ok(command)
}

fn need_of(node: &Node, place: &str) -> Result<Need, ConfigError> {
    let Some(job) = node.get("job") else {
        return Ok(Need { job: node.text(place)?, artifacts: true, optional: false });
    };
    let flag = |key: &str, default: bool| node.get(key).map_or(Ok(default), |value| value.bool(place));
    Ok(Need {
        job: job.text(place)?,
        artifacts: flag("artifacts", true)?,
        optional: flag("optional", false)?,
    })
}

fn when_of(node: Option<&Node>, place: &str) -> Result<When, ConfigError> {
    match node.map_or(Ok("on_success".to_owned()), |when| when.text(place))?.as_str() {
        "on_success" => Ok(When::OnSuccess),
        "on_failure" => Ok(When::OnFailure),
        "always" => Ok(When::Always),
        "manual" => Ok(When::Manual),
        other => Err(ConfigError::new(place, &format!("the stand-in does not support `{other}`"))),
    }
}

fn allow_failure_of(node: Option<&Node>, when: When, place: &str) -> Result<AllowFailure, ConfigError> {
    let Some(node) = node else {
        // A manual job does not block the pipeline unless it says so.
        return Ok(if when == When::Manual { AllowFailure::Yes } else { AllowFailure::No });
    };
    match node.get("exit_codes") {
        Some(Node::List(codes)) => Ok(AllowFailure::ExitCodes(
            codes.iter().map(|code| code.integer(place)).collect::<Result<_, _>>()?,
        )),
        Some(code) => Ok(AllowFailure::ExitCodes(vec![code.integer(place)?])),
        None if node.bool(place)? => Ok(AllowFailure::Yes),
        None => Ok(AllowFailure::No),
    }
}

fn retry_of(node: &Node, place: &str) -> Result<RetrySpec, ConfigError> {
    let max = node.get("max").unwrap_or(node).integer(place)?;
    let max = u64::try_from(max).ok().filter(|max| *max <= 2);
    Ok(RetrySpec {
        max: max.ok_or_else(|| ConfigError::new(place, "config must be less than or equal to 2"))?,
        when: list_of(node.get("when"), place)?,
        exit_codes: each(node.get("exit_codes"), |code| code.integer(place))?,
    })
}

/// Seconds of `90`, `3600`, `1h 30m` or `2 hours`.
fn duration_of(node: &Node, place: &str) -> Result<i64, ConfigError> {
    let text = node.text(place)?;
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let span: Result<Span, _> = text.parse();
    let total = span.and_then(|span| span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())));
    total.map(|seconds| seconds as i64).map_err(|_| ConfigError::new(place, "config should be a duration"))
}
