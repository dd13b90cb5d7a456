//! The URL of the repository, and git's rewriting of URLs so that no token lies in the checkout.

use super::scripts::Stop;
use crate::build::Build;

/// An http(s), ssh or other URL, cut at its user part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    user: Option<String>,
    /// Host, port and path.
    rest: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority_end = rest.find('/').unwrap_or(rest.len());
        let (user, rest) = match rest[..authority_end].rfind('@') {
            Some(at) => (Some(rest[..at].to_owned()), rest[at + 1..].to_owned()),
            None => (None, rest.to_owned()),
        };
        Some(Self { scheme: scheme.to_owned(), user, rest })
    }

    pub(super) fn is_http(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("http") || self.scheme.eq_ignore_ascii_case("https")
    }

    fn without_user(&self) -> Self {
        Self { user: None, ..self.clone() }
    }

    /// `https://host:port`.
    pub(super) fn host_only(&self) -> Self {
        let host = self.rest.split('/').next().unwrap_or("").to_owned();
        Self { user: None, rest: host, ..self.clone() }
    }

    pub(super) fn has_host(&self) -> bool {
        !self.rest.is_empty() && !self.rest.starts_with('/')
    }

    fn with_token(&self, build: &Build) -> Self {
        let user = match (self.scheme.as_str(), &self.user) {
            ("ssh", Some(user)) => user.clone(),
            ("ssh", None) => "git".to_owned(),
            _ if tokenless(build) => return self.without_user(),
            _ => format!("gitlab-ci-token:{}", build.job.token),
        };
        Self { user: Some(user), ..self.clone() }
    }

    fn trimmed(&self) -> String {
        self.to_string().trim_end_matches('/').to_owned()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        write!(f, "{}://{user}{}", self.scheme, self.rest)
    }
}

/// `FF_GIT_URLS_WITHOUT_TOKENS`: credentials come from a helper instead.
pub(super) fn tokenless(build: &Build) -> bool {
    build.flag("FF_GIT_URLS_WITHOUT_TOKENS")
}

/// Where to fetch from: the payload's URL, or the project below `clone_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    Url(Url),
    /// A path or something that git may understand.
    Other(String),
}

impl Remote {
    pub(super) fn of(build: &Build) -> Self {
        if let Some(url) = Url::parse(&build.runner.clone_url) {
            let path = build.variables().value("CI_PROJECT_PATH").to_owned();
            let rest = format!("{}/{path}.git", url.rest.trim_end_matches('/'));
            return Self::Url(Url { rest, ..url }.with_token(build));
        }
        match Url::parse(&build.job.git_info.repo_url) {
            Some(url) if tokenless(build) => Self::Url(url.with_token(build)),
            Some(url) => Self::Url(url),
            None => Self::Other(build.job.git_info.repo_url.clone()),
        }
    }

    /// What is written into the checkout's configuration.
    pub(super) fn without_credentials(&self) -> String {
        match self {
            Self::Url(url) => url.without_user().to_string(),
            Self::Other(text) => text.clone(),
        }
    }
}

/// Pairs of (what git uses, what is written) for `url.<>.insteadOf`.
pub(super) fn instead_ofs(build: &Build) -> Result<Vec<(String, String)>, Stop> {
    let remote = Remote::of(build);
    let mut pairs = Vec::new();
    if let Remote::Url(url) = &remote {
        pairs.push((url.to_string(), url.without_user().to_string()));
    }
    let base = Url::parse(&build.runner.clone_url).or_else(|| Url::parse(&build.runner.url));
    let base = base.ok_or_else(|| Stop::Error("invalid URL".to_owned()))?;
    if base.is_http() {
        let with_token = base.with_token(build).trimmed();
        pairs.push((with_token.clone(), base.trimmed()));
        if build.settings.submodule_force_https {
            pairs.extend(ssh_pairs(build, &with_token));
        }
        let repository = Url::parse(&build.job.git_info.repo_url).filter(Url::is_http);
        if let Some(repository) = repository.map(|url| url.host_only()) {
            pairs.push((repository.with_token(build).trimmed(), repository.trimmed()));
        }
    }
    pairs.retain(|(used, written)| used != written);
    let mut unique: Vec<(String, String)> = Vec::new();
    for pair in pairs {
        if !unique.contains(&pair) {
            unique.push(pair);
        }
    }
    Ok(unique)
}

/// ssh URLs of the same server, for `GIT_SUBMODULE_FORCE_HTTPS`.
fn ssh_pairs(build: &Build, base: &str) -> Vec<(String, String)> {
    let variables = build.variables();
    let host = match variables.value("CI_SERVER_SHELL_SSH_HOST") {
        "" => variables.value("CI_SERVER_HOST"),
        host => host,
    };
    match variables.value("CI_SERVER_SHELL_SSH_PORT") {
        "" | "22" => {
            vec![(format!("{base}/"), format!("git@{host}:")), (base.to_owned(), format!("ssh://git@{host}"))]
        }
        port => vec![(base.to_owned(), format!("ssh://git@{host}:{port}"))],
    }
}
