//! The store of images under load, damage, lack of room, and with a directory that nodes share.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::bed::image;
use end_to_end::executor::{Job, SYSTEM_FAILURE, Site};
use end_to_end::front::{Behaviour, Front};
use serde_json::json;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("store: sixteen jobs at once pull once", sixteen_at_once),
    ("store: a killed puller is replaced, and what it left is removed", killed_puller),
    ("store: what a crash of the node left of a download is loaded anew", crashed_download),
    ("store: a job waits for another one's pull", waiting),
    ("store: leftovers of dead pulls are removed, living ones are left", leftovers),
    ("store: damaged images are noticed and made anew", damage),
    ("store: a full disk is a system failure that says so", full_disk),
    ("store: on a full disk what nobody needs makes room", room_on_a_full_disk),
    ("store: least recently used images go, those in use stay", eviction),
    ("store: nodes share compressed layers", shared_layers),
    ("store: kept layers are a layout that others read", layout),
    ("store: kept layers have the same limit", layers_over_the_limit),
    ("store: a broken layer fails the job", broken_layer),
    ("store: every isolation level has its own trees", levels),
];

const ANY_POLICY: &str = "allowed_pull_policies = [\"always\", \"if-not-present\"]\n";

fn children(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Names of the unpacked images of a site, finished or not, without the store's own directories.
fn entries(site: &Site) -> Vec<String> {
    let all = children(&site.path().join("node/images"));
    all.into_iter().filter(|name| name.starts_with("sha256-")).collect()
}

fn temporary(site: &Site) -> PathBuf {
    site.path().join("node/tmp/node1")
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen within a minute");
        thread::sleep(Duration::from_millis(20));
    }
}

fn sixteen_at_once() {
    let front = Front::start(Behaviour::default());
    let site = Site::new("");
    let jobs: Vec<Job<'_>> =
        (0..16).map(|_| site.job(&front.image("multilayer:latest"), json!({}))).collect();
    thread::scope(|scope| {
        for job in &jobs {
            scope.spawn(|| job.prepare().success());
        }
    });
    let seen = front.take_seen();
    let blobs: Vec<&str> =
        seen.iter().filter(|seen| seen.path.contains("/blobs/")).map(|seen| seen.path.as_str()).collect();
    let different: BTreeSet<&str> = blobs.iter().copied().collect();
    assert!(blobs.len() > 2 && blobs.len() == different.len(), "{blobs:?}");
    assert_eq!(entries(&site).len(), 1, "{:?}", entries(&site));
    jobs[15].run("build_script", "cat /data/kept/file").success();
}

fn slow_front() -> Front {
    Front::start(Behaviour { blob_delay: Duration::from_millis(700), ..Behaviour::default() })
}

fn killed_puller() {
    let front = slow_front();
    let site = Site::new("");
    let name = front.image("multilayer:latest");
    let mut puller =
        site.job(&name, json!({})).command(&["prepare"]).stdout(Stdio::null()).spawn().expect("it starts");
    let has_begun = || entries(&site).iter().any(|name| name.ends_with(".partial"));
    wait_for("a pull", || has_begun() && !children(&temporary(&site)).is_empty());
    puller.kill().expect("it is our child");
    puller.wait().expect("it is our child");
    assert!(has_begun(), "it was killed in the middle");
    let job = site.job(&name, json!({}));
    let log = job.prepare().success();
    assert!(!log.contains("Waiting for pid"), "{log}");
    job.run("build_script", "test -x /bin/busybox").success();
    assert_eq!(children(&temporary(&site)), Vec::<String>::new());
    let left = entries(&site);
    assert!(left.len() == 1 && !left[0].contains('.'), "{left:?}");
}

/// Files that were renamed and not written to the disk are there, and empty.
fn crashed_download() {
    let front = slow_front();
    let site = Site::new("");
    let name = front.image("multilayer:latest");
    let mut puller =
        site.job(&name, json!({})).command(&["prepare"]).stdout(Stdio::null()).spawn().expect("it starts");
    let layers = || {
        let layouts = children(&temporary(&site)).into_iter();
        let blobs = layouts.map(|layout| temporary(&site).join(layout).join("blobs/sha256"));
        let files = blobs.flat_map(|blobs| children(&blobs).into_iter().map(move |name| blobs.join(name)));
        // Two texts of a few kB, then the layers.
        let is_layer = |file: &PathBuf| fs::metadata(file).is_ok_and(|found| found.len() > 100_000);
        files.filter(|file| file.extension().is_none() && is_layer(file)).collect::<Vec<_>>()
    };
    wait_for("a complete layer", || !layers().is_empty());
    puller.kill().expect("it is our child");
    puller.wait().expect("it is our child");
    for layer in layers() {
        fs::write(layer, "").expect("it is ours");
    }
    let job = site.job(&name, json!({}));
    job.prepare().success();
    job.run("build_script", "cat /data/kept/file").success();
}

fn waiting() {
    let front = slow_front();
    let site = Site::new("");
    let name = front.image("multilayer:latest");
    let mut first =
        site.job(&name, json!({})).command(&["prepare"]).stdout(Stdio::null()).spawn().expect("it starts");
    wait_for("a pull", || entries(&site).iter().any(|name| name.ends_with(".partial")));
    let log = site.job(&name, json!({})).prepare().success();
    assert!(log.contains(&format!("Waiting for pid {} on node1, which pulls sha256:", first.id())), "{log}");
    assert!(first.wait().expect("it is our child").success());
}

fn leftovers() {
    let site = Site::new("");
    let (images, temporary) = (site.path().join("node/images"), temporary(&site));
    let [dead, evicted, living, loading] =
        ["1", "2", "3", "4"].map(|digit| format!("sha256-{}", digit.repeat(64)));
    for directory in [
        images.join(format!("{dead}.root-only.partial/rootfs")),
        images.join(format!("{evicted}.evicted/rootfs")),
        images.join(format!("{living}.partial/rootfs")),
        temporary.join(&dead),
        temporary.join(&loading),
    ] {
        fs::create_dir_all(directory).expect("the site is writable");
    }
    for directory in ["node", "node/images", "node/tmp", "node/tmp/node1"] {
        let directory = site.path().join(directory);
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("we made it");
    }
    let stat = fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    let started: u64 = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(19)?.parse().ok())
        .expect("a number");
    let lease = json!({ "host": "node1", "pid": std::process::id(), "started": started, "renewed": 4_000_000_000_u64 });
    for name in [&living, &loading] {
        fs::write(images.join(format!("{name}.lease")), lease.to_string()).expect("the site is writable");
    }
    site.job(&image("busybox:latest"), json!({})).prepare().success();
    let left = entries(&site);
    assert!(!left.iter().any(|name| name.contains(&dead) || name.contains(&evicted)), "{left:?}");
    assert!(left.contains(&format!("{living}.partial")), "{left:?}");
    assert_eq!(children(&temporary), [loading]);
}

/// What is done to an entry, by its name.
type Damage = (&'static str, fn(&Path));

fn damage() {
    let site = Site::new(&format!("{ANY_POLICY}pull_policy = \"if-not-present\""));
    let name = image("user:latest");
    site.job(&name, json!({})).prepare().success();
    let entry = site.path().join("node/images").join(&entries(&site)[0]);
    let contents = entry.join("entry.json");
    // Nobody counts the files for each job; a boot or a day later they are counted.
    let doubt = || {
        let text = fs::read_to_string(&contents).expect("an entry has contents");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        value["boot"] = "another".into();
        fs::write(&contents, value.to_string()).expect("it is ours");
    };
    doubt();
    let log = site.job(&name, json!({})).prepare().success();
    assert!(!log.contains("damaged"), "{log}");
    let damages: [Damage; 3] = [
        ("a file is gone", |entry| fs::remove_file(entry.join("rootfs/etc/passwd")).expect("it is ours")),
        ("a file is shorter", |entry| fs::write(entry.join("rootfs/etc/passwd"), "").expect("it is ours")),
        ("half of the contents", |entry| fs::write(entry.join("entry.json"), "{\"ver").expect("it is ours")),
    ];
    for (what, damage) in damages {
        doubt();
        damage(&entry);
        let job = site.job(&name, json!({}));
        let log = job.prepare().success();
        assert_eq!(
            log.contains("is damaged and will be unpacked again"),
            what != "half of the contents",
            "{what}: {log}"
        );
        job.run("build_script", "grep -q app /etc/passwd").success();
    }
}

/// `prepare` of `job` in a mount namespace of its own, with a tmpfs of `size` at `place`, in which `before` has been run.
fn prepare_with_tmpfs(job: &Job<'_>, place: &Path, size: &str, before: &str) -> (i32, String) {
    fs::create_dir_all(place).expect("the site is writable");
    let plain = job.command(&["prepare"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!(
        "mount -t tmpfs -o mode=700,size=$SIZE none $PLACE && cd $PLACE && {{ {before}\n}} && exec \"$@\" 2>&1"
    ));
    command.arg("sh");
    command.arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("SIZE", size).env("PLACE", place).stdin(Stdio::null());
    let output = command.output().expect("unshare is installed");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn full_disk() {
    let site = Site::new("level = \"B\"");
    let job = site.job(&image("large:latest"), json!({}));
    let (code, log) = prepare_with_tmpfs(&job, &site.path().join("node"), "20m", "true");
    assert_eq!(code, SYSTEM_FAILURE, "{log}");
    assert!(log.contains("cannot write `") && log.contains("No space left on device"), "{log}");
    assert!(log.contains("hint: check that the node has room"), "{log}");
    // The layers find room and what is in them does not.
    let scratch = site.path().join("scratch");
    let site = Site::new(&format!("level = \"B\"\nimage_tmp_dir = \"{}\"", scratch.display()));
    let job = site.job(&image("large:latest"), json!({}));
    let (code, log) = prepare_with_tmpfs(&job, &site.path().join("node"), "40m", "true");
    assert_eq!(code, SYSTEM_FAILURE, "{log}");
    assert!(log.contains("no space left on device while the image was unpacked"), "{log}");
}

fn room_on_a_full_disk() {
    let site = Site::new("level = \"B\"");
    let job = site.job(&image("busybox:latest"), json!({}));
    let digest = "1".repeat(64);
    let leave = format!(
        "umask 077; mkdir -p images/sha256-{digest}.root-only.partial && head -c 7m /dev/zero > images/sha256-{digest}.root-only.partial/file"
    );
    let (code, log) = prepare_with_tmpfs(&job, &site.path().join("node"), "8m", &leave);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("Using docker image sha256:"), "{log}");
}

fn eviction() {
    // Room for two of the small images, which share what is in busybox.
    let site = Site::new("image_max_size = 5000000");
    let prepare = |name: &str| {
        let job = site.job(&image(name), json!({}));
        job.prepare().success();
        job
    };
    let first = prepare("busybox:latest");
    let busybox = entries(&site);
    let size = |entry: &str| {
        let text = fs::read_to_string(site.path().join("node/images").join(entry).join("entry.json"));
        let value: serde_json::Value = serde_json::from_str(&text.expect("it is there")).expect("JSON");
        value["census"]["bytes"].as_u64().expect("a number")
    };
    assert!((1_700_000..2_500_000).contains(&size(&busybox[0])), "{} bytes", size(&busybox[0]));
    prepare("entrypoint:latest").cleanup().success();
    let two = entries(&site);
    assert_eq!(two.len(), 2);
    prepare("workdir:latest").cleanup().success();
    let left = entries(&site);
    assert!(left.contains(&busybox[0]), "a job uses it: {left:?}");
    let entrypoint = two.iter().find(|entry| **entry != busybox[0]).expect("two images");
    assert!(left.len() == 2 && !left.contains(entrypoint), "{left:?}");
    first.run("build_script", "true").success();
    first.cleanup().success();
    prepare("user:latest");
    assert!(!entries(&site).contains(&busybox[0]), "now it is the one that was used least recently");
    assert_eq!(children(&site.path().join("node/images/in-use")).len(), 1);
}

/// A directory on a FUSE mount: not a disk of this node.
struct Shared {
    directory: PathBuf,
}

impl Shared {
    fn mount(site: &Site) -> Self {
        let at = |name: &str| site.path().join(format!("fuse-{name}"));
        for name in ["lower", "upper", "work", "shared"] {
            fs::create_dir(at(name)).expect("the site is writable");
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            at("lower").display(),
            at("upper").display(),
            at("work").display()
        );
        let status = Command::new("fuse-overlayfs").args(["-o", &options]).arg(at("shared")).status();
        assert!(status.expect("fuse-overlayfs is installed").success());
        Self { directory: at("shared") }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-u").arg(&self.directory).status();
    }
}

fn shared_layers() {
    let home = Site::new("");
    let shared = Shared::mount(&home);
    let front = Front::start(Behaviour::default());
    let node = || Site::new(&format!("{ANY_POLICY}image_dir = \"{}/images\"", shared.directory.display()));
    let (first, second, third) = (node(), node(), node());
    let prepare = |site: &Site, policy: &str| {
        let job =
            site.job(&front.image("multilayer:latest"), json!({ "image": { "pull_policy": [policy] } }));
        let log = job.prepare().success();
        job.run("build_script", "cat /data/kept/file").success();
        log
    };
    prepare(&first, "always");
    assert!(front.take_seen().len() > 4);
    assert_eq!(entries(&first).len(), 1, "unpacked on the node");
    let kept = children(&shared.directory.join("images"));
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0] == "names" && kept[1].starts_with("sha256-"), "{kept:?}");
    let log = prepare(&second, "if-not-present");
    assert!(log.contains("Using locally found image version"), "{log}");
    assert_eq!(front.take_seen(), [], "the second node asks nobody");
    prepare(&third, "always");
    assert_eq!(front.take_seen().len(), 1, "the third asks whether it is the same still");
    // A damaged copy is loaded anew.
    let blobs = shared.directory.join("images").join(&kept[1]).join("blobs/sha256");
    let largest = children(&blobs)
        .into_iter()
        .max_by_key(|blob| fs::metadata(blobs.join(blob)).map_or(0, |found| found.len()))
        .expect("there are blobs");
    let largest = blobs.join(largest);
    let good = fs::read(&largest).expect("it is ours");
    let bad = [&good[..good.len() / 2], &vec![0; good.len() - good.len() / 2]].concat();
    for (damage, policy, what) in [
        (&b"short"[..], "always", "it is short"),
        (&bad, "always", "a half is zero"),
        (&bad, "if-not-present", "unasked"),
    ] {
        fs::write(&largest, damage).expect("it is ours");
        prepare(&node(), policy);
        assert!(front.take_seen().len() > 4, "{what}");
        assert!(fs::read(&largest).expect("it is there again") == good, "{what}");
        prepare(&node(), "if-not-present");
        assert_eq!(front.take_seen(), [], "{what}");
    }
}

fn layout() {
    let site = Site::new("");
    let layers = site.path().join("layers");
    let keeping = Site::new(&format!("image_cache_dir = \"{}\"", layers.display()));
    keeping.job(&image("user:latest"), json!({})).prepare().success();
    let name = children(&layers).into_iter().find(|name| name.starts_with("sha256-")).expect("it was kept");
    let layout = format!("oci:{}", layers.join(name).display());
    let output =
        Command::new("skopeo").args(["inspect", "--config", &layout]).output().expect("skopeo is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let config: serde_json::Value = serde_json::from_str(&text).expect("an image's configuration");
    assert_eq!(config["config"]["User"], "app");
}

fn layers_over_the_limit() {
    let home = Site::new("");
    let layers = home.path().join("layers");
    let site = Site::new(&format!("image_max_size = 1\nimage_cache_dir = \"{}\"", layers.display()));
    let kept = || {
        let names = children(&layers);
        names.into_iter().filter(|name| name.starts_with("sha256-")).collect::<Vec<_>>()
    };
    site.job(&image("busybox:latest"), json!({})).prepare().success();
    let first = kept();
    assert_eq!(first.len(), 1);
    // What was used within the hour may still be unpacked by a node.
    site.job(&image("workdir:latest"), json!({})).prepare().success();
    assert_eq!(kept().len(), 2);
    let used = layers.join(&first[0]).join("index.json");
    assert!(
        Command::new("touch").args(["-d", "2 hours ago"]).arg(used).status().expect("coreutils").success()
    );
    site.job(&image("user:latest"), json!({})).prepare().success();
    let left = kept();
    assert!(left.len() == 2 && !left.contains(&first[0]), "{left:?}");
}

/// A layer that is no tar file, with the digest that it should have.
fn broken_layer() {
    let site = Site::new("");
    // `busybox` as published, but its first layer is its own configuration.
    let log = site.job(&image("busybox:latest"), json!({})).prepare().success();
    let digest = log.rsplit('@').next().expect("a digest").trim_end().trim_end_matches(" ...").to_owned();
    let url = format!("http://{}/v2/busybox/manifests/{digest}", end_to_end::bed::REGISTRY);
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let output = Command::new("curl").args(["-sSf", "-H", accept, &url]).output().expect("curl is installed");
    let mut manifest: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a manifest");
    manifest["layers"][0]["digest"] = manifest["config"]["digest"].clone();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let front = Front::start(Behaviour {
        manifests: [("busybox/manifests/broken".to_owned(), (kind, manifest.to_string()))].into(),
        ..Behaviour::default()
    });
    let ended = site.job(&front.image("busybox:broken"), json!({})).prepare();
    ended.failed(end_to_end::executor::BUILD_FAILURE, "a layer of the image is broken");
    ended.failed(end_to_end::executor::BUILD_FAILURE, "hint: build the image again and push it");
    assert_eq!(entries(&site).len(), 1, "{:?}", entries(&site));
}

fn levels() {
    let site = Site::new("");
    let node = site.path().join("common");
    let file = site.data_dir().join("test.executor.toml");
    let text = fs::read_to_string(&file).expect("the site has it");
    let own = format!("node_dir = \"{}/node\"", site.path().display());
    assert!(text.contains(&own));
    for level in ["A", "B", "C"] {
        let text = text.replace(&own, &format!("level = \"{level}\"\nnode_dir = \"{}\"", node.display()));
        fs::write(&file, text).expect("it is ours");
        let job = site.job(&image("multilayer:latest"), json!({}));
        job.prepare().success();
        job.run("build_script", "ls -ld /data/kept && cat /data/link-3").success();
    }
    let images = children(&node.join("images")).into_iter().filter(|name| name.starts_with("sha256-"));
    let endings: Vec<String> = images.map(|name| name[71..].to_owned()).collect();
    assert_eq!(endings, ["", ".root-only", ".unmapped"]);
}
