//! What this stand-in says it is, and what it says it lacks.

/// The release whose contract is followed. Sent to GitLab and to scripts as `CI_RUNNER_VERSION`.
pub(crate) const VERSION: &str = "19.4.0";
/// Takes the place of the git revision, so that each job log shows that a stand-in ran it.
pub(crate) const REVISION: &str = "stand-in";
pub(crate) const NAME: &str = "gitlab-runner";

/// Features of the real program that are refused here.
pub(crate) const LACKS: &[&str] = &[
    "executors other than custom and shell",
    "runner services by itself",
    "remote caches",
    "zstd archives",
    "artifact metadata",
    "native steps",
    "inputs",
    "secrets",
    "web terminal",
    "suspend",
    "job router",
    "client certificates",
    "URL parameter masking",
    "FF_USE_GIT_NATIVE_CLONE",
    "the certificate chain of the connection (without tls-ca-file)",
];

/// `os/architecture` in Go's spelling.
pub(crate) fn platform() -> String {
    format!("{}/{}", std::env::consts::OS, architecture())
}

/// Go's name of the processor architecture.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `gitlab-runner 19.4.0 (stand-in)`, the end of the first line of each job log.
pub(crate) fn line() -> String {
    format!("{NAME} {VERSION} ({REVISION})")
}

/// Value of the `User-Agent` header.
pub(crate) fn user_agent() -> String {
    format!("{NAME} {VERSION} ({REVISION}; rust; {})", platform())
}

/// The answer to `--version`: the real layout, and one more line that says what is missing.
pub(crate) fn extended() -> String {
    format!(
        "Version:      {VERSION}\nGit revision: {REVISION}\nOS/Arch:      {}\nLacks:        {}\n",
        platform(),
        LACKS.join(", ")
    )
}
