//! Cache keys: from what a job wrote to a directory name.

use sha2::{Digest, Sha256};

use super::paths::{clean, join, relative};
use super::scripts::Stop;
use super::writer::Writer;
use crate::build::Build;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct CacheFile {
    /// For the log.
    pub(super) key: String,
    /// Relative to the project directory.
    pub(super) archive: String,
    /// Where the archive is under the other naming scheme.
    pub(super) alternate: String,
}

/// The place of a cache. An empty key stands for job name and ref. A warning goes into the script; no place is a
/// reason why this cache is left out.
pub(super) fn place(build: &Build, key: &str, writer: &mut Writer) -> Result<CacheFile, String> {
    let raw = if key.is_empty() {
        let default = clean(&format!("/{}/{}", build.job.job_info.name, build.job.git_info.reference));
        default.trim_start_matches('/').to_owned()
    } else {
        build.variables().expand(key)
    };
    let hashed = build.flag("FF_HASH_CACHE_KEYS");
    let key = if hashed { raw.clone() } else { sanitize(&raw) };
    if key.is_empty() && !raw.is_empty() {
        writer.warning(&format!("cache key {raw:?} could not be sanitized"));
    } else if key != raw {
        writer.warning(&format!("cache key {raw:?} sanitized to {key:?}"));
    }
    if key.is_empty() {
        return Err("empty cache key".to_owned());
    }
    let sum: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let (name, other) = if hashed { (sum, key.clone()) } else { (key.clone(), sum) };
    Ok(CacheFile { archive: archive(build, &name)?, alternate: archive(build, &other)?, key })
}

fn archive(build: &Build, name: &str) -> Result<String, String> {
    let file = join(&join(&build.directories.cache, name), "cache.zip");
    relative(&build.directories.project, &file).ok_or_else(|| {
        "inability to make the cache file path relative to the build directory (is the build directory absolute?)".to_owned()
    })
}

/// A fallback key of the whole job must not name a protected cache.
pub(super) fn is_protected(key: &str) -> bool {
    sanitize(key).trim_end_matches(['.', ' ']).ends_with("-protected")
}

/// Decodes `%2f` and `%2e`, resolves `.` and `..` below a root that can't be left, and trims blanks at the end.
fn sanitize(raw: &str) -> String {
    if raw.is_empty() {
        return String::new();
    }
    let mut decoded = raw.replace('\\', "/");
    for (code, character) in [("%2f", "/"), ("%2F", "/"), ("%2e", "."), ("%2E", ".")] {
        decoded = decoded.replace(code, character);
    }
    let cleaned = clean(&format!("/{decoded}"));
    let mut parts: Vec<&str> = cleaned[1..].split('/').collect();
    while let Some(last) = parts.pop() {
        let trimmed = last.trim_end();
        if !trimmed.is_empty() {
            parts.push(trimmed);
            break;
        }
    }
    parts.join("/")
}

/// Whether a cache with this policy is to be pulled or pushed.
pub(super) fn allows(policy: &str, wanted: &str, key: &str) -> Result<bool, Stop> {
    match policy {
        "" | "pull-push" => Ok(true),
        "pull" | "push" => Ok(policy == wanted),
        _ => Err(Stop::Error(format!("unknown cache policy {policy} for {key}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_the_cache_directory() {
        for (raw, key) in [
            ("main-1", "main-1"),
            ("some%2f../job/some/ref/.", "job/some/ref"),
            ("../../etc", "etc"),
            ("a\\b ", "a/b"),
            ("fallback_key/ / \\  \\", "fallback_key"),
            ("..", ""),
            (" / ", ""),
            (" foo / bar ", " foo / bar"),
        ] {
            assert_eq!(sanitize(raw), key, "{raw}");
        }
        assert!(is_protected("x-protected. ") && !is_protected("x-non_protected"));
    }
}
