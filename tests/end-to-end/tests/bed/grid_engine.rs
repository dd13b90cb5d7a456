//! The launcher with a second batch system, which it knows by the table that the sample configuration has.

use std::thread::sleep;
use std::time::Duration;

use end_to_end::grid_engine::GridEngine;
use end_to_end::launching::Launching;

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("grid engine: an array of jobs, of which some are cancelled", array),
    ("grid engine: qsub refuses the resources", refused),
];

/// Wide: a safety limit, not a measurement.
const LIMIT: Duration = Duration::from_secs(180);

const QSUB: &str = "executable = \"qsub\"\nscheduler = \"gridengine\"\nargs = [\"-V\", \"-j\", \"y\", \"-o\", \"$SITE/logs\", \"-l\", \"$RESOURCES\"]";

fn site(grid: &GridEngine) -> Launching {
    let sample = include_str!("../../../configs/valid/schedulers.toml");
    let start = sample.find("[schedulers.gridengine]").expect("the sample has the table");
    let table = sample[start..].split("\n\n").next().expect("a table has lines");
    let site = Launching::new(&format!("{QSUB}\n{table}"), &grid.environment());
    site.configure("RESOURCES = \"h_rt=600\"");
    site
}

fn array() {
    let grid = GridEngine::start(4);
    let site = site(&grid);
    grid.switch_queue("-d");
    let jobs = site.jobs(10, "true");
    site.tick();
    assert_eq!(site.states().len(), 1);
    assert!(grid.queue().contains("1-10:1"), "{}", grid.queue());
    for &job in &jobs[..3] {
        site.cancel(job);
    }
    // Seen, seen again, and gone from the queue.
    site.tick();
    sleep(Duration::from_secs(1));
    site.tick();
    assert!(grid.queue().contains("1-7:1"), "{}", grid.queue());
    grid.switch_queue("-e");
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs[3..]);
    assert_eq!(site.wasted("grid engine, an array", 7), 0);
}

fn refused() {
    let grid = GridEngine::start(4);
    let site = site(&grid);
    site.configure("RESOURCES = \"nope=1\"");
    let jobs = site.jobs(2, "true");
    let said = site.say(&["once"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.stderr.contains("unknown resource \"nope\""), "{said:?}");
    site.age(10_000);
    site.tick();
    assert_eq!(site.states().len(), 1);
    site.configure("RESOURCES = \"h_rt=600\"");
    let said = site.say(&["once"]);
    let end = "warning: launches for `big`: it works again\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), end), "{said:?}");
    site.tick_until_done(&jobs, LIMIT);
    site.each_ran_once(&jobs);
}
