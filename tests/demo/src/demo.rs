//! The steps of the demo, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::arguments::Arguments;
use crate::failure::DemoError;
use crate::follow::follow;
use crate::gitlab::GitLab;
use crate::place::Place;
use crate::site::Site;
use crate::{leftovers, report, repository, runner};

/// Set by SIGINT, SIGTERM and SIGHUP; looked at between steps and while the demo waits.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn watch() -> Result<Self, DemoError> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .map_err(|source| DemoError::Signals { source })?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn check(&self) -> Result<(), DemoError> {
        if self.0.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { Ok(()) }
    }
}

/// True if every job had the result that was expected. Whatever happens, nothing is left behind.
pub(crate) fn run(arguments: &Arguments) -> Result<bool, DemoError> {
    let interrupt = Interrupt::watch()?;
    leftovers::adopt_orphans().map_err(|source| DemoError::Signals { source })?;
    let place = Place::make(&arguments.directory)?;
    let outcome = play(arguments, &place, &interrupt);
    // A second signal must not stop the tidying up: the handler stays.
    step("ending what still runs, and removing the demo's directory");
    leftovers::end(&place);
    outcome
}

fn play(arguments: &Arguments, place: &Place, interrupt: &Interrupt) -> Result<bool, DemoError> {
    let began = Instant::now();
    let runner = runner::find(place)?;
    step(format!("gitlab-runner: {runner}"));
    let gitlab = GitLab::start(arguments.listen)?;
    step(format!("GitLab: a stand-in at {}", gitlab.url()));
    let site = Site::write(place, &gitlab, arguments)?;
    step(format!("batch system: {}", site.batch_system()));
    interrupt.check()?;

    step("registering two instances and writing gitlab-runner's configuration: gitlab-meta-runner configure");
    site.front("configure")?;
    step("pushing the sample repository and starting its pipeline");
    repository::push(place, &gitlab)?;
    let pipeline = gitlab.start_pipeline(&site.images())?;
    interrupt.check()?;

    step("launching: gitlab-meta-runner run-single, as cron would call it");
    let jobs = follow(&gitlab, &site, pipeline, interrupt)?;
    let rows = report::rows(&jobs);
    println!("\n{}", report::table(&rows));
    println!("gitlab-runner: {runner}; {:.0} s", began.elapsed().as_secs_f64());
    let unexpected = report::unexpected(&rows);
    for line in &unexpected {
        println!("not as expected: {line}");
    }
    if unexpected.is_empty() {
        println!("every result is the expected one");
    }
    Ok(unexpected.is_empty())
}

/// Progress, on stderr.
pub(crate) fn step(text: impl AsRef<str>) {
    eprintln!("demo: {}", text.as_ref());
}
