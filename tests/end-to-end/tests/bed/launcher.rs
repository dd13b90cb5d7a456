//! The launcher with a real Slurm to which things happen. After each, every job has run exactly once or says why not.

use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use end_to_end::launching::Launching;
use end_to_end::processes::wait_until;
use end_to_end::slurm::Slurm;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("launcher: a drained node", drained),
    ("launcher: the controller goes away and comes back", controller_away),
    ("launcher: an admin cancels the allocation", cancelled_by_an_admin),
    ("launcher: the walltime is over", walltime),
    ("launcher: sbatch refuses the account", refused),
    ("launcher: a burst of 300 jobs", burst),
    ("launcher: cancelled jobs take their tasks of an array along", cancelled_jobs),
    ("launcher: tasks that are not in a row are all counted", scattered),
    ("launcher: a service that is killed and started again", service),
];

/// Wide: a safety limit, not a measurement.
const LIMIT: Duration = Duration::from_secs(120);

const SBATCH: &str = "executable = \"sbatch\"\nargs = [\"--output=$SITE/logs/%A_%a.log\"]";

fn site(slurm: &Slurm, launch: &str) -> Launching {
    Launching::new(launch, &[slurm.environment()])
}

fn drained() {
    let slurm = Slurm::start(8);
    let site = site(&slurm, SBATCH);
    slurm.drain();
    let jobs = site.jobs(2, "true");
    for _ in 0..5 {
        site.tick();
        sleep(Duration::from_millis(500));
    }
    assert_eq!(slurm.pending().len(), 2);
    assert!(site.states()[0].starts_with("queued: "), "{:?}", site.states());
    slurm.resume();
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
    assert_eq!(site.wasted("drained node", slurm.allocations().len()), 0);
}

fn controller_away() {
    let mut slurm = Slurm::start(8);
    let site = site(&slurm, SBATCH);
    slurm.drain();
    let mut jobs = site.jobs(2, "true");
    site.tick();
    slurm.stop_controller();
    jobs.push(site.job("true"));
    let said = site.say(&["once"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.stderr.contains("the batch system does not answer, so nothing is launched"), "{said:?}");
    // Told once.
    let said = site.say(&["once"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(5), ""), "{said:?}");
    slurm.start_controller();
    slurm.wait_for("drain");
    slurm.resume();
    let said = site.say(&["once"]);
    let end = "warning: the batch system: it works again\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), end), "{said:?}");
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
    assert_eq!(site.wasted("controller away", slurm.allocations().len()), 0);
}

fn cancelled_by_an_admin() {
    let slurm = Slurm::start(8);
    let site = site(&slurm, SBATCH);
    slurm.drain();
    let jobs = site.jobs(1, "true");
    site.tick();
    slurm.run("scancel", &[&slurm.pending()[0]]);
    site.tick();
    assert!(site.states()[0].starts_with("lost: it ended as CANCELLED"), "{:?}", site.states());
    // Not at once again.
    site.tick();
    assert_eq!(slurm.pending(), [""; 0]);
    site.age(30);
    slurm.resume();
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
    // The cancelled one never ran.
    assert_eq!(site.wasted("cancelled by an admin", slurm.allocations().len() - 1), 0);
}

fn walltime() {
    let slurm = Slurm::start(8);
    // A minute is the least that Slurm counts.
    let launch = "executable = \"sbatch\"\nargs = [\"--time=1\", \"--output=$SITE/logs/%j.log\"]";
    let site = site(&slurm, launch);
    let jobs = site.jobs(1, "sleep 600");
    site.tick_until_done(&jobs, Duration::from_secs(300));
    let job = site.gitlab.job(jobs[0]);
    assert_eq!(job["status"], "failed", "{job:#}");
    assert!(job["failure_reason"].is_string(), "{job:#}");
    wait_until("the allocation has ended", LIMIT, || {
        site.tick();
        site.states()[0].starts_with("done")
    });
    assert_eq!((site.ran().get(&jobs[0]), site.states().len()), (Some(&1), 1));
    assert_eq!(site.wasted("walltime", slurm.allocations().len()), 0);
}

fn refused() {
    let slurm = Slurm::start(8);
    let site = site(
        &slurm,
        "executable = \"sbatch\"\nargs = [\"--account=$ACCOUNT\", \"--output=$SITE/logs/%j.log\"]",
    );
    site.configure("ACCOUNT = \"closed\"");
    let jobs = site.jobs(2, "true");
    let said = site.say(&["once"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    let words = "Invalid account or account/partition combination specified";
    assert!(said.stderr.contains(words), "{said:?}");
    site.age(10_000);
    site.tick();
    assert!(site.say(&["status"]).stdout.contains(words));
    assert_eq!((slurm.allocations().len(), site.states().len()), (0, 1));
    site.configure("ACCOUNT = \"open\"");
    let said = site.say(&["once"]);
    let end = "warning: launches for `big`: it works again\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), end), "{said:?}");
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
    assert_eq!(site.wasted("refused account", slurm.allocations().len()), 0);
}

fn burst() {
    let slurm = Slurm::start(8);
    let site = site(&slurm, &format!("{SBATCH}\nmax_in_flight = 300\nstart_grace = 600"));
    let jobs = site.jobs(300, "true");
    site.tick_until_done(&jobs, Duration::from_secs(900));
    site.each_ran_once(&jobs);
    let submissions = site.states().len();

    assert!(submissions <= 10, "{submissions} submissions");
    let wasted = site.wasted(&format!("burst of 300, {submissions} submissions"), slurm.allocations().len());
    assert!(wasted <= 3, "{wasted} allocations without a job");
}

fn cancelled_jobs() {
    let slurm = Slurm::start(8);
    let site = site(&slurm, SBATCH);
    slurm.drain();
    let jobs = site.jobs(4, "true");
    site.tick();
    assert_eq!((site.states().len(), slurm.pending().len()), (1, 4));
    for &job in &jobs[..3] {
        site.cancel(job);
    }
    // Seen, seen again, and gone from the queue.
    site.tick();
    sleep(Duration::from_secs(1));
    site.tick();
    assert_eq!(slurm.pending().len(), 1);
    slurm.resume();
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs[3..]);
    let ran = slurm.run("squeue", &["--states=completed", "--array", "--noheader", "--format=%i"]);
    wait_until("the allocation has ended", LIMIT, || {
        slurm.run("squeue", &["--states=running,completing", "--noheader"]).is_empty()
    });
    assert_eq!(site.wasted("cancelled jobs", ran.lines().count().max(1)), 0);
}

fn scattered() {
    let slurm = Slurm::start(8);
    let site = site(&slurm, SBATCH);
    slurm.drain();
    site.jobs(100, "true");
    site.tick();
    // As squeue writes them in one line, they would be cut off.
    let pending = slurm.pending();
    let every_third: Vec<&str> = pending.iter().step_by(3).map(String::as_str).collect();
    slurm.run("scancel", &every_third);
    site.tick();
    assert_eq!(site.ledger()["launches"][0]["waiting"], 100 - every_third.len());
    site.tick();
    assert_eq!(site.states().len(), 1, "the others wait for their time");
}

fn service() {
    let slurm = Slurm::start(8);
    let site = site(&slurm, SBATCH);
    let mut jobs = Vec::new();
    let start = || Service::start(&site);
    for round in 0..5 {
        let launcher = start();
        jobs.extend(site.jobs(3, "true"));
        sleep(Duration::from_millis(700 + round * 130));
        drop(launcher);
    }
    let launcher = start();
    wait_until("all jobs are done", LIMIT, || {
        jobs.iter().all(|&job| site.gitlab.job(job)["status"] == "success")
    });
    drop(launcher);
    site.each_ran_once(&jobs);
    let log = fs::read_to_string(site.path().join("launcher.log")).unwrap_or_default();
    assert_eq!(log, "", "a service without trouble says nothing");
    site.wasted("service killed five times", slurm.allocations().len());
}

/// `meta-launcher run`, killed on drop.
struct Service(Child);

impl Service {
    fn start(site: &Launching) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(site.path().join("launcher.log"));
        let log = log.expect("the directory is writable");
        Self(site.launcher(&["run"]).stderr(log).spawn().expect("the launcher starts"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}
