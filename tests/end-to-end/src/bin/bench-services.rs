//! A job with PostgreSQL and Redis, ready to run its script, beside the same two servers started by hand from the same
//! files. Called in the bed by `cargo xtask bench services`.
//!
//! Prints a row each: name, milliseconds (median), times the first row.

#![expect(clippy::disallowed_methods, reason = "benches are at the edge: they start programs")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use end_to_end::bed::image;
use end_to_end::executor::Site;
use serde_json::{Value, json};

const TIMES: usize = 9;

fn main() {
    let site = Site::new("pull_policy = \"if-not-present\"");
    let services = json!({ "services": [
        { "name": image("postgres"), "alias": "db", "variables": [{ "key": "POSTGRES_PASSWORD", "value": "x" }] },
        { "name": image("redis") },
    ] });
    // Pulled once, so that only starts are measured.
    prepared(&site, services.clone());
    let (mut by_hand, mut as_services) = (Vec::new(), Vec::new());
    for round in 0..TIMES {
        by_hand.push(started_by_hand(&site, round));
        as_services.push(prepared(&site, services.clone()));
    }
    let (by_hand, as_services) = (median(by_hand), median(as_services));
    println!("two servers started by hand\t{by_hand:.0}\t1.00");
    println!("job with two services, until its script\t{as_services:.0}\t{:.2}", as_services / by_hand);
}

/// Milliseconds of `prepare`.
fn prepared(site: &Site, services: Value) -> f64 {
    let job = site.job(&image("busybox"), services);
    let began = Instant::now();
    let log = job.prepare().success();
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert!(!log.contains("WARNING"), "{log}");
    job.cleanup().success();
    took
}

/// What an admin would type to have both: a network, the images' file systems with a layer to write to, the entry points.
const BY_HAND: &str = r#"
ip link set lo up
enter() {
    mkdir -p "$2/upper" "$2/work" "$2/root"
    mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work,userxattr" overlay "$2/root"
    mkdir -p "$2/root/dev" "$2/root/proc"
    mount --rbind /dev "$2/root/dev"
    mount -t proc proc "$2/root/proc"
    shift
    (cd "$1/root" && shift && exec chroot . "$@" >/dev/null 2>&1) &
}
export POSTGRES_PASSWORD=x PGDATA=/var/lib/postgresql/data PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin
enter "$1" "$3/postgres" postgres-entrypoint postgres
enter "$2" "$3/redis" redis-entrypoint redis-server
for port in 5432 6379; do
    until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.01; done
done
"#;

/// Milliseconds until both servers accept connections.
fn started_by_hand(site: &Site, round: usize) -> f64 {
    // A server that does not start must not be waited for for ever.
    let mut command = Command::new("timeout");
    command.args(["60", "unshare"]);
    // As the executor does: Redis does not start with a locale that its image lacks.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["--map-auto", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "bash", "-c", BY_HAND, "bash"]);
    command
        .arg(rootfs_with(site, "usr/bin/postgres-entrypoint"))
        .arg(rootfs_with(site, "usr/bin/redis-entrypoint"));
    command.arg(site.path().join(format!("by-hand-{round}")));
    let began = Instant::now();
    let output = command.output().expect("unshare starts");
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

/// The unpacked image that has `file`.
fn rootfs_with(site: &Site, file: &str) -> PathBuf {
    let images = site.images().into_iter().map(|image| image.join("rootfs"));
    images
        .into_iter()
        .find(|rootfs: &PathBuf| Path::exists(&rootfs.join(file)))
        .expect("the image was pulled")
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
