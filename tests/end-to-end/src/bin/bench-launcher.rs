//! What `cargo xtask bench launcher` prints: a row per line, cells parted by tabs: what, figure, limit, note.
//!
//! With the word `plan` it plans once over a large set of facts and prints the time in milliseconds.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench is at the edge: it starts programs and reads its surroundings"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use end_to_end::launching::Launching;
use end_to_end::processes::wait_until;
use end_to_end::slurm::Slurm;
use meta_core::config::instances::InstanceConfig;
use meta_launcher::facts::{Batch, Facts, Job, Limits, Place, Site};
use meta_launcher::plan::{Action, plan};

const INSTANCES: u64 = 200;
const JOBS: u64 = 10_000;
const LIMIT: Duration = Duration::from_secs(300);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("plan") => plan_once(),
        Some("bed") => in_bed(),
        _ => println!("plan or bed"),
    }
}

/// Prints milliseconds of the fastest of some plans, and the largest resident size of this process in MB.
fn plan_once() {
    let facts = facts();
    let mut times: Vec<f64> = (0..20)
        .map(|_| {
            let begin = Instant::now();
            let plan = plan(&facts);
            let time = begin.elapsed().as_secs_f64() * 1e3;
            let asked = plan.actions.iter().filter(|action| matches!(action, Action::Launch(_))).count();
            assert!(asked >= 100, "{asked} submissions");
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let status = fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells it");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("{:.2}\t{:.1}", times[times.len() / 2], kib / 1024.0);
}

/// Jobs of 50 projects for 200 instances with 4 tags each, of which nothing is launched yet.
fn facts() -> Facts {
    let name = |number: u64| format!("instance-{number:03}");
    let tags = |number: u64| {
        ["hpc".to_owned(), name(number), format!("p{}", number % 7), format!("q{}", number % 3)]
    };
    let instance = |number: u64| InstanceConfig {
        tags: BTreeSet::from(tags(number)).into_iter().collect(),
        launch_priority: i64::try_from(number % 5).unwrap_or_default(),
        ..sample()
    };
    let site = |number: u64| Site {
        runner: number,
        place: Place::Queue(0),
        max_array: 100,
        start_grace_s: 150,
        fingerprint: String::new(),
        obstacle: None,
    };
    let job = |id: u64| Job {
        id,
        project: id % 50,
        tags: vec!["hpc".to_owned(), name(id % INSTANCES)],
        protected: false,
        runner: None,
        pending: true,
        queued_s: 60,
    };
    let parse = |number| name(number).parse().expect("a name");
    Facts {
        now: 1_790_000_000,
        instances: (0..INSTANCES).map(|number| (parse(number), instance(number))).collect(),
        sites: (0..INSTANCES).map(|number| (parse(number), site(number))).collect(),
        jobs: (0..JOBS).map(job).collect(),
        jobs_complete: true,
        launches: Vec::new(),
        batches: vec![Batch::Known(Vec::new())],
        limits: Limits {
            max_in_flight: 10_000,
            max_per_project: None,
            group_size: 1,
            interval_s: 30,
            timeout_s: 300,
        },
        kept_online: Some(BTreeMap::new()),
        warned: BTreeMap::new(),
    }
}

/// An instance as the reader makes it.
fn sample() -> InstanceConfig {
    let text = "name = \"m\"\nhostname = \"x\"\nproject = \"g/p\"\n[runners.a]\ntags = [\"a\"]\n[runner]\nexecutor = \"custom\"\n";
    let config = meta_core::config::parse("x.toml".as_ref(), text).expect("a good configuration");
    config.instances.into_values().next().expect("one instance")
}

fn in_bed() {
    burst();
    latency();
}

fn burst() {
    let slurm = Slurm::start(8);
    let launch = "executable = \"sbatch\"\nargs = [\"--output=$SITE/logs/%A_%a.log\"]\nmax_in_flight = 1000";
    let site = Launching::new(launch, &[slurm.environment()]);
    slurm.drain();
    site.jobs(1000, "true");
    let begin = Instant::now();
    site.tick();
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(slurm.pending().len(), 1000);
    let calls = site.states().len();
    println!("sbatch calls for 1,000 equal launches\t{calls}\t10\tone tick of {seconds:.1} s");
}

/// From the moment when GitLab has the job to the first line of its script, with the service and an idle cluster.
fn latency() {
    let slurm = Slurm::start(8);
    let site = Launching::new(
        "executable = \"sbatch\"\nargs = [\"--output=$SITE/logs/%j.log\"]",
        &[slurm.environment()],
    );
    site.run_in_containers();
    let service = Service(site.launcher(&["run"]).spawn().expect("the launcher starts"));
    let mut times = Vec::new();
    let requests = || site.gitlab.requests().iter().filter(|r| r["who"] != "anonymous").count();
    let (begin, before) = (Instant::now(), requests());
    for round in 0..11 {
        let started = site.path().join(format!("started-{round}"));
        let enqueued = SystemTime::now();
        site.plain_job(&format!("echo >/site/started-{round}"));
        wait_until("the script begins", LIMIT, || started.exists());
        let began = fs::metadata(&started).and_then(|file| file.modified()).expect("it was just there");
        // The first one pulls its image.
        if round > 0 {
            times.push(began.duration_since(enqueued).expect("the clock goes on").as_secs_f64());
        }
        // Not in step with the service.
        sleep(Duration::from_millis(1500 + round * 170));
    }
    let per_minute = (requests() - before) as f64 / begin.elapsed().as_secs_f64() * 60.0;
    drop(service);
    times.sort_by(f64::total_cmp);
    let idle = idle_requests(&site);
    println!(
        "seconds from pending to a running script (median of 10)\t{:.2}\t2\tlargest {:.2}; {per_minute:.0} requests a minute with the runners' own, {idle:.0} without jobs",
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

/// Requests of the service in a minute in which nothing happens.
fn idle_requests(site: &Launching) -> f64 {
    let service = Service(site.launcher(&["run"]).spawn().expect("the launcher starts"));
    let (begin, before) = (Instant::now(), site.gitlab.requests().len());
    sleep(Duration::from_secs(15));
    let count = site.gitlab.requests().len() - before;
    let per_minute = count as f64 / begin.elapsed().as_secs_f64() * 60.0;
    drop(service);
    per_minute
}

/// `meta-launcher run`, killed on drop.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
