//! Registries that want a login, speak TLS, fail for a moment, or have several platforms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::bed::{REGISTRY, image};
use end_to_end::executor::{BUILD_FAILURE, Ended, Job, SYSTEM_FAILURE, Site};
use end_to_end::front::{Behaviour, Front, HOST, Identity};
use serde_json::{Value, json};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("registries: an unchanged image is one request", one_request),
    ("registries: a short failure is tried again", short_failures),
    ("registries: the next policy takes over", fallback),
    ("registries: logins by password and by token", logins),
    ("registries: a wrong or a missing password", refused),
    ("registries: which login is taken", which_login),
    ("registries: no credential helper runs", helpers),
    ("registries: a redirect does not carry the password", redirects),
    ("registries: a private image is not handed to another project", private_images),
    ("registries: TLS with the site's own authority", own_authority),
    ("registries: plain HTTP by name", plain_by_name),
    ("registries: several platforms", platforms),
    ("registries: an image for another machine, and what is no image", odd_manifests),
    ("registries: digests, with and without a tag", digests),
];

/// `user:secret-word`, and the same as `Basic` wants it.
const USER: &str = "user";
const PASSWORD: &str = "secret-word";
const LOGIN: &str = "Basic dXNlcjpzZWNyZXQtd29yZA==";

fn auth_config(registry: &str) -> Value {
    let config = json!({ "auths": { registry: { "auth": LOGIN.trim_start_matches("Basic ") } } });
    json!({ "variables": [{ "key": "DOCKER_AUTH_CONFIG", "value": config.to_string() }] })
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the site is writable");
}

fn registry(front: &Front) -> String {
    format!("127.0.0.1:{}", front.port())
}

fn requests(front: &Front) -> Vec<(String, usize)> {
    front.take_counts().into_iter().collect()
}

fn counted(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
    counts.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect()
}

fn one_request() {
    let front = Front::start(Behaviour::default());
    let site = Site::new("");
    let job = || site.job(&front.image("busybox:latest"), json!({}));
    job().prepare().success();
    let (blobs, manifests): (Vec<_>, Vec<_>) =
        front.take_seen().into_iter().partition(|seen| seen.path.contains("/blobs/"));
    let methods: Vec<&str> = manifests.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
    let different: BTreeSet<&str> = blobs.iter().map(|seen| seen.path.as_str()).collect();
    assert!(blobs.len() > 1 && blobs.len() == different.len(), "{blobs:?}");
    job().prepare().success();
    assert_eq!(requests(&front), counted(&[("HEAD manifests", 1)]));
}

fn short_failures() {
    let site = Site::new("");
    let front = Front::start(Behaviour { unavailable: 1, broken_blobs: 1, ..Behaviour::default() });
    let name = front.image("busybox:latest");
    let log = site.job(&name, json!({})).prepare().success();
    for attempt in ["1", "2"] {
        let line = format!("WARNING: Failed to pull image \"{name}\" (attempt #{attempt}), retrying: ");
        assert!(log.contains(&line), "{log}");
    }
    assert!(log.contains("registry answered 503 to HEAD"), "{log}");
    assert!(log.contains("the connection broke"), "{log}");
    let down = Front::start(Behaviour { unavailable: 3, ..Behaviour::default() });
    let ended = site.job(&down.image("busybox:latest"), json!({})).prepare();
    ended.failed(SYSTEM_FAILURE, "registry answered 503");
    assert_eq!(down.take_seen().len(), 3, "{}", ended.log);
}

fn fallback() {
    let site = Site::new("pull_policy = [\"always\", \"if-not-present\"]");
    let front = Front::start(Behaviour::default());
    let name = front.image("busybox:latest");
    site.job(&name, json!({})).prepare().success();
    drop(front);
    let log = site.job(&name, json!({})).prepare().success();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("retrying")).skip(1).collect();
    assert_eq!(
        lines[0],
        format!("Using effective pull policy of [always if-not-present] for container {name}"),
        "{log}"
    );
    assert_eq!(lines[1], format!("Pulling docker image {name} ..."));
    assert!(
        lines[2].starts_with("WARNING: Failed to pull image with policy \"always\": cannot reach"),
        "{log}"
    );
    assert_eq!(lines[3], "Attempt #2: Trying \"if-not-present\" pull policy");
    assert_eq!(lines[4], "Using locally found image version due to \"if-not-present\" pull policy");
    assert!(lines[5].starts_with("Using docker image sha256:"), "{log}");
}

fn logins() {
    for tokens in [false, true] {
        let front = Front::start(Behaviour { login: Some(LOGIN), tokens, ..Behaviour::default() });
        let site = Site::new("");
        let ended = site.job(&front.image("busybox:latest"), auth_config(&registry(&front))).prepare();
        let log = ended.success();
        assert!(log.contains("Authenticating with credentials from $DOCKER_AUTH_CONFIG\n"), "{log}");
        assert!(!log.contains(PASSWORD) && !log.contains(LOGIN) && !log.contains("let-me-in"), "{log}");
        let token = front.take_seen().into_iter().find(|seen| seen.path.starts_with("/token"));
        let query = token.map(|seen| seen.path);
        assert_eq!(
            query.as_deref(),
            tokens.then_some("/token?scope=repository%3Ax%3Apull&service=front"),
            "{log}"
        );
    }
}

fn refused() {
    for tokens in [false, true] {
        let front = Front::start(Behaviour { login: Some(LOGIN), tokens, ..Behaviour::default() });
        let site = Site::new("");
        let name = front.image("busybox:latest");
        let ended = site.job(&name, json!({})).prepare();
        ended.failed(BUILD_FAILURE, "pull access denied for 127.0.0.1:");
        ended.failed(BUILD_FAILURE, "repository does not exist or may require 'docker login'");
        assert!(!ended.log.contains("Authenticating"), "{}", ended.log);
        let wrong = json!({ "credentials": [
            { "type": "registry", "url": registry(&front), "username": USER, "password": "another-secret" }
        ] });
        let ended = site.job(&name, wrong).prepare();
        ended.failed(BUILD_FAILURE, "is refused with the credentials from job payload (GitLab Registry)");
        ended.failed(BUILD_FAILURE, "hint: check user name and password there");
        assert!(!ended.log.contains("another-secret"), "{}", ended.log);
    }
}

fn which_login() {
    let front = Front::start(Behaviour { login: Some(LOGIN), ..Behaviour::default() });
    let site = Site::new("");
    let host = registry(&front);
    let home = site.path().join("home");
    let payload = |url: &str, password: &str| {
        json!([{ "type": "registry", "url": url, "username": USER, "password": password },
               { "type": "other", "url": url, "username": "x", "password": "x" }])
    };
    let from = |job: Job<'_>| {
        let log = job.with_environment("HOME", &home.display().to_string()).prepare().success();
        let line = log.lines().find_map(|line| line.strip_prefix("Authenticating with credentials from "));
        line.unwrap_or("nothing").to_owned()
    };
    let job = |extra: Value| site.job(&front.image("evil/tool:22.04"), extra);
    assert_eq!(
        from(job(json!({ "credentials": payload(&host, PASSWORD) }))),
        "job payload (GitLab Registry)"
    );
    // The account's own file comes before the payload.
    let file = home.join(".docker/config.json");
    fs::create_dir_all(home.join(".docker")).expect("the site is writable");
    let own = json!({ "auths": { host.as_str(): { "username": USER, "password": PASSWORD } } });
    write(&file, &own.to_string());
    assert_eq!(from(job(json!({ "credentials": payload(&host, "wrong") }))), file.display().to_string());
    // A deeper path beats a better source.
    let deep = job(json!({ "credentials": payload(&format!("https://{host}"), "wrong") }));
    assert_eq!(from(deep), file.display().to_string());
    write(&file, &own.to_string().replace(PASSWORD, "wrong"));
    let deep = job(json!({ "credentials": payload(&format!("{host}/evil"), PASSWORD) }));
    assert_eq!(from(deep), "job payload (GitLab Registry)");
    // The variable comes first, and the runner's own value only without it.
    assert_eq!(from(job(auth_config(&host))), "$DOCKER_AUTH_CONFIG");
    let runner = auth_config(&host)["variables"][0]["value"].as_str().expect("a text").to_owned();
    assert_eq!(from(job(json!({})).with_environment("DOCKER_AUTH_CONFIG", &runner)), "$DOCKER_AUTH_CONFIG");
    // A source that makes no sense is passed over with a warning.
    let nonsense = json!({
        "variables": [{ "key": "DOCKER_AUTH_CONFIG", "value": "secret nonsense" }],
        "credentials": payload(&host, PASSWORD),
    });
    fs::remove_file(&file).expect("we wrote it");
    let log = job(nonsense).prepare().success();
    assert!(
        log.contains("WARNING: Failed to resolve credentials from $DOCKER_AUTH_CONFIG: no JSON at line 1 column 1. Credentials from this source will not be used."),
        "{log}"
    );
    assert!(!log.contains("secret nonsense"), "{log}");
}

fn helpers() {
    let site = Site::new("");
    let (bin, ran) = (site.path().join("bin"), site.path().join("helper-ran"));
    fs::create_dir(&bin).expect("the site is writable");
    let helper = bin.join("docker-credential-evil");
    write(&helper, &format!("#!/bin/sh\ntouch {}\n", ran.display()));
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("we wrote it");
    let config = json!({ "credsStore": "evil", "credHelpers": { REGISTRY: "evil" } }).to_string();
    let variable = json!({ "variables": [{ "key": "DOCKER_AUTH_CONFIG", "value": config }] });
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let job = site.job(&image("busybox:latest"), variable).with_environment("PATH", &path);
    let log = job.prepare().success();
    assert!(
        log.contains(
            "WARNING: Credential helpers are not run on this runner: `evil` of $DOCKER_AUTH_CONFIG."
        ),
        "{log}"
    );
    assert!(!ran.exists());
}

fn redirects() {
    let elsewhere = Front::start(Behaviour::default());
    let front = Front::start(Behaviour {
        login: Some(LOGIN),
        blobs_elsewhere: Some(format!("http://{HOST}:{}", elsewhere.port())),
        ..Behaviour::default()
    });
    let site = Site::new("");
    site.job(&front.image("busybox:latest"), auth_config(&registry(&front))).prepare().success();
    let blobs = elsewhere.take_seen();
    assert!(blobs.len() > 1 && blobs.iter().all(|seen| seen.authorization.is_none()), "{blobs:?}");
}

fn private_images() {
    let front = Front::start(Behaviour { login: Some(LOGIN), ..Behaviour::default() });
    let site = Site::new(
        "pull_policy = \"if-not-present\"\nallowed_pull_policies = [\"if-not-present\", \"never\"]",
    );
    let name = front.image("busybox:latest");
    let prepare = |project: u64, with_login: bool, policy: &str| -> Ended {
        let mut extra = if with_login { auth_config(&registry(&front)) } else { json!({}) };
        extra["job_info"] = json!({ "project_id": project });
        extra["image"] = json!({ "pull_policy": [policy] });
        site.job(&name, extra).prepare()
    };
    prepare(7, true, "if-not-present").success();
    front.take_seen();
    prepare(7, false, "if-not-present").success();
    assert_eq!(front.take_seen(), [], "its own project is not asked again");
    prepare(8, false, "if-not-present").failed(BUILD_FAILURE, "pull access denied");
    prepare(8, false, "never").failed(BUILD_FAILURE, "no such image on this node");
    front.take_seen();
    prepare(8, true, "if-not-present").success();
    assert_eq!(
        requests(&front),
        counted(&[("HEAD manifests", 2)]),
        "the registry was asked, nothing was loaded"
    );
    prepare(8, false, "never").success();
    prepare(7, false, "never").success();
}

fn own_authority() {
    let identity = Identity::new(HOST);
    let certificate = identity.certificate_pem.clone();
    let front = Front::start(Behaviour { identity: Some(identity), ..Behaviour::default() });
    let name = front.named_image("busybox:latest");
    let without = Site::new("");
    let ended = without.job(&name, json!({})).prepare();
    ended.failed(
        SYSTEM_FAILURE,
        "hint: the registry's certificate is not trusted here: set `registry_ca_file`",
    );
    assert!(!ended.log.contains("retrying"), "{}", ended.log);
    let file = without.path().join("ca.pem");
    write(&file, &certificate);
    let with = Site::new(&format!("registry_ca_file = \"{}\"", file.display()));
    with.job(&name, json!({})).prepare().success();
    let missing = Site::new("registry_ca_file = \"/nowhere/ca.pem\"");
    missing.job(&name, json!({})).prepare().failed(SYSTEM_FAILURE, "cannot read `/nowhere/ca.pem`");
}

fn plain_by_name() {
    let front = Front::start(Behaviour::default());
    let name = front.named_image("busybox:latest");
    Site::new("").job(&name, json!({})).prepare().failed(SYSTEM_FAILURE, "set `insecure_registries`");
    let site = Site::new(&format!("insecure_registries = [\"{HOST}:{}\"]", front.port()));
    site.job(&name, json!({})).prepare().success();
}

/// An index with an attestation, an image for another machine, and one for this, as builders make them.
fn index(native: &str, other: &str) -> String {
    let entry = |digest: &str, os: &str, architecture: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": digest,
            "platform": { "os": os, "architecture": architecture },
        })
    };
    let manifests = [
        entry(other, "unknown", "unknown"),
        entry(other, "linux", "s390x"),
        entry(native, "linux", if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }),
    ];
    json!({ "schemaVersion": 2, "manifests": manifests }).to_string()
}

/// The digest at the end of `Using docker image ... with digest NAME@DIGEST ...`.
fn digest_in(log: &str) -> String {
    let line = log.lines().find(|line| line.starts_with("Using docker image")).expect("the image was found");
    let digest = line.split('@').next_back().expect("a digest");
    digest.trim_end_matches(" ...").to_owned()
}

fn platforms() {
    let site = Site::new("");
    let digest = |name: &str| digest_in(&site.job(&image(name), json!({})).prepare().success());
    let (busybox, entrypoint) = (digest("busybox:latest"), digest("entrypoint:latest"));
    let path = "busybox/manifests/several".to_owned();
    let text = index(&busybox, &entrypoint);
    let kind = "application/vnd.oci.image.index.v1+json";
    let front =
        Front::start(Behaviour { manifests: BTreeMap::from([(path, (kind, text))]), ..Behaviour::default() });
    let name = front.image("busybox:several");
    let prepare = |platform: &str| {
        let extra = json!({
            "variables": [{ "key": "WANTED", "value": platform }],
            "image": { "executor_opts": { "docker": { "platform": "$WANTED" } } },
        });
        site.job(&name, extra).prepare()
    };
    let log = prepare("").success();
    assert_ne!(digest_in(&log), busybox, "docker shows the digest of the index");
    assert!(!log.contains("for platform"), "{log}");
    let ended = prepare("linux/arm/v5");
    ended.failed(BUILD_FAILURE, "no matching manifest for linux/arm/v5 in the manifest list entries");
    assert!(
        ended.log.contains(&format!("Pulling docker image {name} for platform linux/arm/v5 ...")),
        "{}",
        ended.log
    );
    prepare("quantum").failed(BUILD_FAILURE, "\"quantum\": unknown operating system or architecture");
    // An image without an index says only in its configuration what it is for.
    let single = |platform: &str| {
        let extra = json!({ "image": { "executor_opts": { "docker": { "platform": platform } } } });
        site.job(&image("busybox:latest"), extra).prepare()
    };
    single("s390x")
        .failed(BUILD_FAILURE, "does not match the specified platform: wanted linux/s390x, actual: linux/");
    single(if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "aarch64" }).success();
}

const IMAGE_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the registry has at `path` behind `/v2/`.
fn fetched(path: &str) -> Value {
    let url = format!("http://{REGISTRY}/v2/{path}");
    let accept = format!("Accept: {IMAGE_TYPE}, application/vnd.docker.distribution.manifest.v2+json");
    let output =
        Command::new("curl").args(["-sSf", "-H", &accept, &url]).output().expect("curl is installed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn sha256(text: &str) -> String {
    let mut program =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    program.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = program.wait_with_output().expect("it is our child");
    let line = String::from_utf8_lossy(&output.stdout);
    format!("sha256:{}", line.split(' ').next().expect("a digest"))
}

fn odd_manifests() {
    let site = Site::new("");
    let digest = digest_in(&site.job(&image("busybox:latest"), json!({})).prepare().success());
    let manifest = fetched(&format!("busybox/manifests/{digest}"));
    let of_config = manifest["config"]["digest"].as_str().expect("a digest");
    let mut config = fetched(&format!("busybox/blobs/{of_config}"));
    config["architecture"] = "s390x".into();
    let foreign = config.to_string();
    let with_config = |text: &str| {
        let mut manifest = manifest.clone();
        manifest["config"]["digest"] = sha256(text).into();
        manifest["config"]["size"] = text.len().into();
        manifest
    };
    let blob =
        |text: &str| (format!("busybox/blobs/{}", sha256(text)), ("application/json", text.to_owned()));
    let named =
        |tag: &str, manifest: Value| (format!("busybox/manifests/{tag}"), (IMAGE_TYPE, manifest.to_string()));
    let mut chart = manifest.clone();
    chart["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    let mut gone = manifest.clone();
    gone["layers"][0]["digest"] = format!("sha256:{}", "1".repeat(64)).into();
    let mut longer = manifest.clone();
    longer["layers"][0]["size"] = 10.into();
    let front = Front::start(Behaviour {
        manifests: BTreeMap::from([
            named("foreign", with_config(&foreign)),
            blob(&foreign),
            named("nonsense", with_config("nonsense")),
            blob("nonsense"),
            named("chart", chart),
            named("gone", gone),
            named("longer", longer),
            named("old", json!({ "schemaVersion": 1 })),
        ]),
        ..Behaviour::default()
    });
    let prepare = |tag: &str| site.job(&front.image(&format!("busybox:{tag}")), json!({})).prepare();
    // As docker: it may be that the machine can run it all the same.
    let log = prepare("foreign").success();
    assert!(
        log.contains(
            "WARNING: The requested image's platform (linux/s390x) does not match the detected host platform"
        ),
        "{log}"
    );
    prepare("nonsense")
        .failed(BUILD_FAILURE, "is no image that can be run: its configuration makes no sense");
    prepare("chart")
        .failed(BUILD_FAILURE, "it is an artifact of type `application/vnd.cncf.helm.config.v1+json`");
    prepare("gone").failed(BUILD_FAILURE, "the registry does not have its part sha256:111");
    prepare("old").failed(BUILD_FAILURE, "its manifest has schema version 1");
    let ended = prepare("longer");
    ended.failed(SYSTEM_FAILURE, "is not what its digest says");
}

fn digests() {
    let site = Site::new("");
    let digest = digest_in(&site.job(&image("busybox:latest"), json!({})).prepare().success());
    for name in [format!("busybox@{digest}"), format!("busybox:some-tag@{digest}")] {
        let name = image(&name);
        let log = site.job(&name, json!({})).prepare().success();
        assert!(log.contains(&format!(" for {name} with digest {}@{digest} ...", image("busybox"))), "{log}");
    }
    let unknown = image(&format!("busybox@sha256:{}", "0".repeat(64)));
    site.job(&unknown, json!({})).prepare().failed(BUILD_FAILURE, "manifest unknown");
}
