//! A first pull of a large image beside Apptainer's and podman's, and what `always` costs where nothing changed. Called in
//! the bed by `cargo xtask bench executor`.
//!
//! Prints a row per subject: name, milliseconds (median), its ratio to `apptainer build --sandbox` and to `podman pull`, or
//! `-`; and for `always` the milliseconds over `if-not-present` and the requests.

#![expect(clippy::disallowed_methods, reason = "benches are at the edge: they start programs")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use end_to_end::bed::image;
use end_to_end::executor::Site;
use end_to_end::front::{Behaviour, Front};
use end_to_end::measure::{Samples, samples};
use serde_json::json;

/// Each pull writes 200 MB.
const PULLS: usize = 3;
const PREPARES: usize = 31;
const IMAGE: &str = "large:latest";

fn main() {
    first_pulls();
    unchanged();
}

fn first_pulls() {
    let scratch = Site::new("");

    let sites: Vec<Site> = (0..PULLS).map(|_| Site::new("")).collect();
    let keeping: Vec<Site> = (0..PULLS).map(|number| keeping_site(scratch.path(), number)).collect();
    let apptainer = |number: usize| apptainer(&scratch.path().join(format!("apptainer-{number}")));
    let podman = |number: usize| podman(&scratch.path().join(format!("podman-{number}")));
    let turns = [(); 4].map(|()| AtomicUsize::new(0));
    let next = |turn: usize| turns[turn].fetch_add(1, Ordering::Relaxed);
    let prepare = |site: &Site| site.job(&image(IMAGE), json!({})).command(&["prepare"]);
    let found = samples(
        &[&|| apptainer(next(0)), &|| podman(next(1)), &|| prepare(&sites[next(2)]), &|| {
            prepare(&keeping[next(3)])
        }],
        PULLS,
    );
    let names = ["apptainer build --sandbox", "podman pull", "first pull", "first pull, layers kept"];
    for (name, times) in names.iter().zip(&found) {
        let ratio = |other: &Samples| times.median() / other.median();
        println!("{name}\t{:.0}\t{:.2}\t{:.2}", times.median(), ratio(&found[0]), ratio(&found[1]));
    }
}

/// Compressed layers are kept, as for other nodes.
fn keeping_site(scratch: &Path, number: usize) -> Site {
    Site::new(&format!("image_cache_dir = \"{}/layers-{number}\"", scratch.display()))
}

fn apptainer(directory: &Path) -> Command {
    let mut command = Command::new("apptainer");
    command
        .args(["--silent", "build", "--no-https", "--sandbox"])
        .arg(directory.join("sandbox"))
        .arg(format!("docker://{}", image(IMAGE)))
        .env("APPTAINER_CACHEDIR", made(&directory.join("cache")))
        .env("APPTAINER_TMPDIR", made(&directory.join("tmp")));
    command
}

fn podman(directory: &Path) -> Command {
    let mut command = Command::new("podman");
    command
        .args([
            "--root".into(),
            made(&directory.join("store")),
            "--runroot".into(),
            made(&directory.join("run")),
        ])
        .args(["pull", "--quiet", &image(IMAGE)]);
    command
}

fn made(directory: &Path) -> PathBuf {
    std::fs::create_dir_all(directory).expect("the scratch directory is writable");
    directory.to_owned()
}

/// A warm `prepare`, with and without the question whether the image is still the same.
fn unchanged() {
    let every = "allowed_pull_policies = [\"always\", \"if-not-present\"]";
    let site = Site::new(every);
    let prepare = |policy: &str| {
        let job = site.job(&image(IMAGE), json!({ "image": { "pull_policy": [policy] } }));
        job.command(&["prepare"])
    };
    site.job(&image(IMAGE), json!({})).prepare().success();
    let found = samples(&[&|| prepare("if-not-present"), &|| prepare("always")], PREPARES);
    let over = found[1].median() - found[0].median();
    let front = Front::start(Behaviour::default());
    let counted = Site::new("");
    let job = || counted.job(&front.image("busybox:latest"), json!({}));
    job().prepare().success();
    front.take_seen();
    job().prepare().success();
    let requests = front.take_seen().len();
    println!("always, unchanged\t{:.1}\t{over:.1}\t{requests}", found[1].median());
}
