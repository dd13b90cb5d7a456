//! `restore_cache` and `archive_cache`.

use end_to_end::parity::{Place, Row};

pub(super) const ROWS: &[Row] = &[
    Row::play("TestCacheInContainer", policies),
    Row::play("Test_CacheVolumeProtected", protected),
    Row::play("cache: untracked, when, several", selections),
    Row::play("cache: fallback_keys and CACHE_FALLBACK_KEY", fallbacks),
    Row::play("cache: key:files and key:prefix", keys_from_files),
    Row::play("cache: odd keys and FF_HASH_CACHE_KEYS", odd_keys),
    Row::play_real("cache: tarzstd and zipzstd", "zstd archives", formats),
    Row::play("cache: projects are apart", projects),
];

/// Looks for what an earlier job left, and leaves it anew.
const LOOK: &str =
    "script: ['cat cached/file || echo nothing', mkdir -p cached, 'echo from the cache > cached/file']";

fn policies(place: &Place) {
    let job = |more: &str, script: &str| {
        place.job(&format!("cache: {{key: key, paths: ['cached/*'], {more}}}\n{script}"))
    };
    job("policy: pull-push", LOOK).passes().says("nothing").hides("due to policy").shows("Created cache");
    job("policy: pull", LOOK)
        .passes()
        .says("from the cache")
        .shows("Not uploading cache key-protected due to policy");
    job("policy: push", LOOK)
        .passes()
        .says("nothing")
        .shows("Not downloading cache key-protected due to policy");
    job("when: always", "script: [cat cached/file, exit 1]")
        .fails(1)
        .says("from the cache")
        .shows("Saving cache for failed job");
    job("when: on_failure", "script: [cat cached/file]").passes().hides("Saving cache");
}

fn protected(place: &Place) {
    let job =
        |reference: &str| place.job_on(reference, &format!("cache: {{key: k, paths: [cached]}}\n{LOOK}"));
    job("main").passes().says("nothing");
    // What a branch that anybody may push to leaves never reaches a protected one, by key or by path.
    let forged = "cache: {key: k, paths: [cached]}\nscript: ['(ls -A /cache 2>/dev/null || true) | wc -l', 'mkdir -p cached; echo forged > cached/file', 'cp -r cached /cache/ || true']";
    place.job_on("feature", forged).passes().says("0").shows("k-non_protected");
    job("main").passes().says("from the cache").shows("k-protected");
    job("feature").passes().says("forged");
}

fn selections(place: &Place) {
    let place = place.with_repository();
    place.commit("echo tracked > file; echo ignored > .gitignore");
    let two = "cache: [{key: a, paths: [one]}, {key: b, untracked: true}]";
    place
        .job_of_repository(&format!(
            "{two}\nscript: [mkdir one; echo 1 > one/file; echo 2 > stray; echo 3 > ignored]"
        ))
        .passes();
    place
        .job_of_repository(&format!("{two}\nscript: ['cat one/file stray ignored | tr -d \"\\n\"']"))
        .passes()
        .shows("123");
}

fn fallbacks(place: &Place) {
    place
        .job("cache: {key: old, paths: [cached]}\nscript: [mkdir cached, 'echo old > cached/file']")
        .passes();
    place
        .job("cache: {key: new, paths: [cached], policy: pull, fallback_keys: [none, old]}\nscript: [cat cached/file]")
        .passes()
        .says("old")
        .shows("Successfully extracted cache");
    place
        .job("variables: {CACHE_FALLBACK_KEY: old-protected}\ncache: {key: other, paths: [cached], policy: pull}\nscript: ['cat cached/file || echo nothing']")
        .passes()
        .shows("CACHE_FALLBACK_KEY")
        .says("nothing");
}

fn keys_from_files(place: &Place) {
    let place = place.with_repository();
    place.commit("echo 1 > lock; echo 1 > other");
    let job = || {
        place.job_of_repository(&format!(
            "cache: {{key: {{files: [lock], prefix: pre}}, paths: [cached]}}\n{LOOK}"
        ))
    };
    job().passes().says("nothing").shows("Creating cache pre-");
    place.commit("echo 2 > other");
    job().passes().says("from the cache");
    place.commit("echo 2 > lock");
    job().passes().says("nothing");
}

fn odd_keys(place: &Place) {
    for (key, more) in
        [("../../odd key/ä", ""), ("../../odd key/ä", "variables: {FF_HASH_CACHE_KEYS: 'true'}")]
    {
        let job = || place.job(&format!("{more}\ncache: {{key: '{key}', paths: [cached]}}\n{LOOK}"));
        job().passes().shows("Created cache");
        job().passes().says("from the cache");
    }
    assert!(!place.site().path().join("odd key").exists(), "the key led out of the cache directory");
}

fn formats(place: &Place) {
    for format in ["tarzstd", "zipzstd"] {
        let variables =
            format!("variables: {{CACHE_COMPRESSION_FORMAT: {format}, CACHE_COMPRESSION_LEVEL: fast}}");
        let job = || place.job(&format!("{variables}\ncache: {{key: {format}, paths: [cached]}}\n{LOOK}"));
        job().passes().says("nothing").shows("Created cache");
        job().passes().says("from the cache");
    }
}

fn projects(place: &Place) {
    let other = place.with_repository();
    let job = format!("cache: {{key: k, paths: [cached]}}\n{LOOK}");
    place.job(&job).passes().says("nothing");
    other.job(&job).passes().says("nothing");
    place.job(&job).passes().says("from the cache");
}
