//! `restore_cache` and `archive_cache`.

use super::cache_key::{self, CacheFile, allows, is_protected};
use super::scripts::{self, Stop};
use super::writer::Writer;
use crate::build::Build;
use crate::job::{Cache, happens};

const ENV_FILE: &str = "gitlab_runner_cache_env";

pub(super) fn restore(build: &Build, runner: &str, writer: &mut Writer) -> Result<(), Stop> {
    let words = Words { policy: "pull", doing: "cache extraction", moving: "downloading" };
    for_each_cache(
        build,
        &words,
        writer,
        |_| true,
        |cache, place, writer| {
            let mut places = vec![place];
            places.extend(fallbacks(build, cache, writer));
            writer.guard_runner(runner, "Extracting cache", |writer| {
                extract(build, runner, cache, &places, writer);
            });
        },
    )
}

/// How a stage names what it does with caches.
struct Words {
    policy: &'static str,
    doing: &'static str,
    moving: &'static str,
}

/// Begins the script, and lets `write` add what is done with each `wanted` cache that has a place and the right policy.
fn for_each_cache(
    build: &Build,
    words: &Words,
    writer: &mut Writer,
    wanted: impl Fn(&Cache) -> bool,
    mut write: impl FnMut(&Cache, CacheFile, &mut Writer),
) -> Result<(), Stop> {
    let wanted = |cache: &&Cache| wanted(cache) && !selection(cache).is_empty();
    let caches: Vec<&Cache> = build.job.cache.iter().flatten().filter(wanted).collect();
    if caches.is_empty() {
        return Err(Stop::Nothing);
    }
    scripts::exports(build, writer);
    scripts::enter_project(build, writer);
    let Words { policy, doing, moving } = words;
    for cache in caches {
        let place = match cache_key::place(build, &cache.key, writer) {
            Ok(place) => place,
            Err(reason) => {
                writer.notice(&format!("Skipping {doing} due to {reason}"));
                continue;
            }
        };
        if allows(&build.variables().expand(&cache.policy), policy, &place.key)? {
            write(cache, place, writer);
        } else {
            writer.notice(&format!("Not {moving} cache {} due to policy", place.key));
        }
    }
    Ok(())
}

/// The cache's own fallback keys, then the job's `CACHE_FALLBACK_KEY`.
fn fallbacks(build: &Build, cache: &Cache, writer: &mut Writer) -> Vec<CacheFile> {
    let expanded = |key: &String| build.variables().expand(key);
    let mut keys: Vec<String> = cache.fallback_keys.iter().flatten().map(expanded).collect();
    let of_job = build.variables().value("CACHE_FALLBACK_KEY").to_owned();
    if is_protected(&of_job) {
        writer.warning(&format!("CACHE_FALLBACK_KEY {of_job:?} not allowed to end in \"-protected\""));
    } else {
        keys.push(of_job);
    }
    let mut places = Vec::new();
    for key in keys.iter().filter(|key| !key.is_empty()) {
        match cache_key::place(build, key, writer) {
            Ok(place) => places.push(place),
            Err(reason) => writer.notice(&format!("Skipping cache extraction due to {reason}")),
        }
    }
    places
}

/// Tries the first place, and where that fails the next. A cache that can't be had is no failure.
fn extract(build: &Build, runner: &str, cache: &Cache, places: &[CacheFile], writer: &mut Writer) {
    let Some((place, rest)) = places.split_first() else { return };
    let timeout = build.settings.cache_request_timeout.to_string();
    writer.notice(&format!("Checking cache for {}...", place.key));
    writer.if_command_with_output(&[
        runner,
        "cache-extractor",
        "--file",
        &place.archive,
        "--timeout",
        &timeout,
    ]);
    writer.notice("Successfully extracted cache");
    writer.otherwise();
    writer.warning("Failed to extract cache");
    if build.flag("FF_CLEAN_UP_FAILED_CACHE_EXTRACT") {
        for path in cache.paths.iter().flatten() {
            writer.remove_directory(path);
        }
    }
    extract(build, runner, cache, rest, writer);
    writer.end_if();
}

pub(super) fn archive(build: &Build, runner: &str, success: bool, writer: &mut Writer) -> Result<(), Stop> {
    let words = Words { policy: "push", doing: "cache archiving", moving: "uploading" };
    let wanted = |cache: &Cache| happens(&cache.when, success);
    for_each_cache(build, &words, writer, wanted, |cache, place, writer| {
        writer.guard_runner(runner, "Creating cache", |writer| create(build, runner, cache, &place, writer));
    })
}

fn create(build: &Build, runner: &str, cache: &Cache, place: &CacheFile, writer: &mut Writer) {
    let timeout = build.settings.cache_request_timeout.to_string();
    writer.notice(&format!("Creating cache {}...", place.key));
    let metadata = serde_json::json!({"cachekey": place.key}).to_string();
    let env_file = writer.dotenv(ENV_FILE, "CACHE_METADATA", &metadata);
    let mut words =
        vec![runner, "cache-archiver", "--file", &place.archive, "--alternate-file", &place.alternate];
    words.extend(["--timeout", &timeout]);
    let selection = selection(cache);
    words.extend(selection.iter().map(String::as_str));
    words.extend(["--env-file", &env_file]);
    writer.if_command_with_output(&words);
    writer.notice("Created cache");
    writer.otherwise();
    writer.warning("Failed to create cache");
    writer.end_if();
    writer.remove_file(&env_file);
}

fn selection(cache: &Cache) -> Vec<String> {
    let mut words: Vec<String> =
        cache.paths.iter().flatten().flat_map(|path| ["--path".to_owned(), path.clone()]).collect();
    if cache.untracked {
        words.push("--untracked".to_owned());
    }
    words
}
