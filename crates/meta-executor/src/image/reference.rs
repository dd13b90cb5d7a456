//! Image names as docker understands them (distribution/reference: the grammar of `[registry/]repository[:tag][@digest]`).

use std::fmt;

use thiserror::Error;

/// A complete image name: nothing is left to defaults, so two names that differ never compare equal by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Host with optional port; `docker.io` for Docker Hub.
    pub(crate) registry: String,
    /// Path below the registry, `library/` included for Docker Hub's own images.
    pub(crate) repository: String,
    pub(crate) version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tag(String),
    /// `sha256:...`. A tag beside a digest is dropped: docker ignores it too.
    Digest(String),
}

/// Why a name is none. Worded as docker words it, because users search for it.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ReferenceError {
    #[error("invalid reference format: the name is empty")]
    Empty,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("invalid reference format: `{0}` is not a repository name")]
    Repository(String),
    #[error("invalid reference format: `{0}` is not a tag")]
    Tag(String),
    #[error("invalid reference format: `{0}` is not a sha256 digest")]
    Digest(String),
    #[error("`{0}` images are not supported, only images in a registry")]
    Transport(String),
}

impl Reference {
    /// Parses what a job or the configuration names as its image.
    pub(crate) fn parse(name: &str) -> Result<Self, ReferenceError> {
        let name = name.trim();
        let name = match name.split_once("://") {
            Some(("docker", rest)) => rest,
            Some((transport, _)) => return Err(ReferenceError::Transport(transport.to_owned())),
            None => name,
        };
        if name.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(parse_digest(digest)?)),
            None => (name, None),
        };
        // A colon before a slash belongs to the registry's port.
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(parse_tag(tag)?)),
            _ => (name, None),
        };
        let (registry, repository) = split_registry(path);
        check_repository(&repository)?;
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Digest(digest),
            (None, Some(tag)) => Version::Tag(tag),
            (None, None) => Version::Tag("latest".to_owned()),
        };
        Ok(Self { registry, repository, version })
    }

    /// What stands behind `manifests/` in the registry's API.
    pub(crate) fn version(&self) -> &str {
        match &self.version {
            Version::Tag(version) | Version::Digest(version) => version,
        }
    }

    /// `registry/repository`, the key under which credentials are looked up. Docker Hub's `library/` is not part of it.
    pub(crate) fn credentials_path(&self) -> String {
        let repository = match self.registry.as_str() {
            "docker.io" => self.repository.strip_prefix("library/").unwrap_or(&self.repository),
            _ => &self.repository,
        };
        format!("{}/{repository}", self.registry)
    }

    /// The repository as docker shows it in front of a digest (`Docker Hub` left out).
    pub(crate) fn familiar_name(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" => self.repository.strip_prefix("library/").unwrap_or(&self.repository),
            _ => &self.repository,
        }
    }

    /// The repository with its registry, as docker shows it in `with digest`.
    pub(crate) fn familiar_repository(&self) -> String {
        match self.registry.as_str() {
            "docker.io" => self.familiar_name().to_owned(),
            registry => format!("{registry}/{}", self.repository),
        }
    }
}

/// The complete name, never shortened: the key of the store.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}/{}:{tag}", self.registry, self.repository),
            Version::Digest(digest) => write!(f, "{}/{}@{digest}", self.registry, self.repository),
        }
    }
}

fn split_registry(path: &str) -> (String, String) {
    let (registry, repository) = match path.split_once('/') {
        Some((first, rest)) if is_host(first) => (first.to_lowercase(), rest),
        _ => ("docker.io".to_owned(), path),
    };
    let registry = if registry == "index.docker.io" { "docker.io".to_owned() } else { registry };
    if registry == "docker.io" && !repository.contains('/') {
        return (registry, format!("library/{repository}"));
    }
    (registry, repository.to_owned())
}

/// A first component with a dot or a port is a registry; `..` is neither that nor anything else.
fn is_host(first: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
    (first.contains(['.', ':']) || first == "localhost")
        && first.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && first.chars().all(allowed)
}

fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        let shown = repository.strip_prefix("library/").unwrap_or(repository);
        return Err(ReferenceError::Uppercase(shown.to_owned()));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let good = |component: &str| {
        edge(component.chars().next()) && edge(component.chars().last()) && component.chars().all(allowed)
    };
    if repository.split('/').all(good) {
        return Ok(());
    }
    Err(ReferenceError::Repository(repository.to_owned()))
}

fn parse_tag(tag: &str) -> Result<String, ReferenceError> {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = |c: char| first(c) || c == '.' || c == '-';
    if tag.chars().next().is_some_and(first) && tag.chars().all(rest) && tag.len() <= 128 {
        return Ok(tag.to_owned());
    }
    Err(ReferenceError::Tag(tag.to_owned()))
}

fn parse_digest(digest: &str) -> Result<String, ReferenceError> {
    match digest.strip_prefix("sha256:") {
        Some(hex)
            if hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) =>
        {
            Ok(digest.to_owned())
        }
        _ => Err(ReferenceError::Digest(digest.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (name, complete) in [
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
            ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
            ("bitnami/git:2", "docker.io/bitnami/git:2"),
            ("registry.example.com/evil/tool:22.04", "registry.example.com/evil/tool:22.04"),
            ("localhost/x", "localhost/x:latest"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("docker://busybox:1", "docker.io/library/busybox:1"),
            (" busybox ", "docker.io/library/busybox:latest"),
        ] {
            assert_eq!(Reference::parse(name).map(|r| r.to_string()), Ok(complete.to_owned()), "{name}");
        }
        let both = format!("reg.io/a:1@{digest}");
        assert_eq!(Reference::parse(&both).map(|r| r.to_string()), Ok(format!("reg.io/a@{digest}")));
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (name, message) in [
            ("", "invalid reference format: the name is empty"),
            ("Bad Name", "invalid reference format: repository name (Bad Name) must be lowercase"),
            ("a b", "invalid reference format: `library/a b` is not a repository name"),
            ("../../etc", "invalid reference format: `../../etc` is not a repository name"),
            ("a:b c", "invalid reference format: `b c` is not a tag"),
            ("a@sha256:12", "invalid reference format: `sha256:12` is not a sha256 digest"),
            ("oras://x/y", "`oras` images are not supported, only images in a registry"),
        ] {
            assert_eq!(Reference::parse(name).unwrap_err().to_string(), message);
        }
    }
}
