//! One tick: lease, ledger, facts, plan, apply. The ledger is saved before and after every submission.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meta_core::launches::{Launch, Ledger, State};
use meta_core::name::InstanceName;
use meta_core::registrations::Registrations;
use meta_gitlab::Client;
use meta_host::{Failure as _, clock, exit, process, random};

use crate::book::Book;
use crate::facts::Facts;
use crate::failure::LauncherError;
use crate::outlook::{Note, Outlook};
use crate::plan::{Action, NewLaunch, Plan, plan};
use crate::setup::Setup;
use crate::surplus::Cancellation;
use crate::troubles::Troubles;
use crate::{gather, metrics, queue, renewal, runners, submit, waiting};

/// The system id under which instances are kept online. Nothing registers it: removing a runner's last manager would
/// clear its contact time.
const KEEP_ALIVE_ID: &str = "r_kept_online";

/// What [`Troubles`] calls a GitLab that does not answer.
const GITLAB: &str = "GitLab";

/// What [`Troubles`] calls a file of figures that cannot be written.
const FIGURES: &str = "metrics";

/// What [`Troubles`] calls everything else that cuts a tick off.
const TICK: &str = "the launcher";

/// How a tick ended. What went wrong is told.
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: u8,
    /// What cut it off.
    pub(crate) failure: Option<LauncherError>,
}

/// Launches what is missing now. `stop` is asked between the actions.
pub(crate) fn tick(
    setup: &Setup<'_>,
    gitlab: &Client,
    troubles: &mut Troubles,
    stop: &dyn Fn() -> bool,
) -> Ended {
    let result = match Book::open(setup) {
        Ok(Some(book)) => with_book(setup, gitlab, troubles, book, stop),
        Ok(None) => Ok(()),
        // Without a ledger nobody remembers that it was told.
        Err(error) => {
            troubles.failure(about(&error), &error);
            Err(error)
        }
    };
    let met = troubles.take_met();
    match result {
        Ok(()) => Ended { code: if met { exit::PARTIAL } else { exit::DONE }, failure: None },
        Err(error) => Ended { code: error.exit_code(), failure: Some(error) },
    }
}

/// What [`Troubles`] calls the end of a tick.
fn about(error: &LauncherError) -> &'static str {
    match error {
        LauncherError::GitLab(_) => GITLAB,
        _ => TICK,
    }
}

/// Does the work, and writes down what is wrong, also if that has cut the work off.
fn with_book(
    setup: &Setup<'_>,
    gitlab: &Client,
    troubles: &mut Troubles,
    mut book: Book,
    stop: &dyn Fn() -> bool,
) -> Result<(), LauncherError> {
    troubles.recall(book.ledger.troubles.clone());
    let (figures, before) = (setup.metrics_file(), gitlab.requests());
    let result = work(setup, gitlab, troubles, &mut book, stop);
    match &result {
        Ok(_) => [GITLAB, TICK].into_iter().for_each(|about| troubles.over(about)),
        Err(error) => troubles.failure(about(error), error),
    }
    let requests = gitlab.requests() - before;
    if let Ok(Some(_)) = figures {
        book.ledger.totals.gitlab_requests += requests;
    }
    let now = clock::now();
    let renews = match &result {
        Ok(done) => renewal::is_due(&done.registrations, &book.ledger, setup.launch.start_grace_s, now),
        Err(_) => false,
    };
    if renews {
        book.ledger.renewal_tried = now;
    }
    book.ledger.troubles = troubles.known();
    book.ledger.prune(now);
    let saved = book.save();
    // What cut the tick off was told, and says more than what may follow from it.
    let done = result?;
    saved?;
    let text = metrics::render(setup.name(), &done, &book.ledger, requests);
    // Figures are not worth more than what follows.
    match figures.and_then(|path| path.map_or(Ok(()), |path| metrics::write(&path, &text))) {
        Ok(()) => troubles.over(FIGURES),
        Err(error) => troubles.failure(FIGURES, &error),
    }
    book.ledger.troubles = troubles.known();
    book.save()?;
    let refused = std::mem::take(&mut book.ledger.refused_tokens);
    // The lease is released: `meta-register` needs it.
    drop(book);
    if renews {
        renewal::renew(setup, &refused, now, troubles);
        if let Some(mut book) = Book::open(setup)? {
            book.ledger.troubles = troubles.known();
            book.save()?;
        }
    }
    Ok(())
}

/// What a tick has seen and planned.
pub(crate) struct Done {
    pub(crate) registrations: Registrations,
    pub(crate) facts: Facts,
    pub(crate) outlooks: BTreeMap<InstanceName, Outlook>,
    /// Waiting jobs that no instance may take.
    pub(crate) unmatched: usize,
}

fn work(
    setup: &Setup<'_>,
    gitlab: &Client,
    troubles: &mut Troubles,
    book: &mut Book,
    stop: &dyn Fn() -> bool,
) -> Result<Done, LauncherError> {
    let registrations = setup.registrations()?;
    let Book { ledger, lease, .. } = &mut *book;
    let facts = gather::facts(setup, ledger, &registrations, gitlab, troubles, &mut || {
        lease.renew().map_err(LauncherError::Lease)
    })?;
    let Plan { actions, outlooks, unmatched } = plan(&facts);
    for (instance, outlook) in &outlooks {
        let about = format!("registration of `{instance}`");
        if outlook.notes.contains(&Note::NotRegistered) {
            let text = format!(
                "instance `{instance}` has waiting jobs and is not registered\nhint: run `gitlab-meta-runner configure`"
            );
            troubles.error(&about, &text);
        } else {
            troubles.over(&about);
        }
    }
    let mut tick = Tick {
        setup,
        gitlab,
        troubles,
        registrations,
        facts,
        book,
        refused: BTreeSet::new(),
        is_stuck: false,
    };
    for action in actions {
        if stop() {
            break;
        }
        // Each may take minutes.
        tick.book.lease.renew().map_err(LauncherError::Lease)?;
        tick.perform(action)?;
    }
    Ok(Done { registrations: tick.registrations, facts: tick.facts, outlooks, unmatched: unmatched.len() })
}

struct Tick<'a> {
    setup: &'a Setup<'a>,
    gitlab: &'a Client,
    troubles: &'a mut Troubles,
    registrations: Registrations,
    facts: Facts,
    book: &'a mut Book,
    /// Instances whose launch, or whose token, was refused in this tick: the next launch would be, too, or in vain.
    refused: BTreeSet<InstanceName>,
    /// Whether a submission did not come back. The next one would not, either.
    is_stuck: bool,
}

impl Tick<'_> {
    fn perform(&mut self, action: Action) -> Result<(), LauncherError> {
        match action {
            Action::Settle(settled) => {
                self.book.replace(settled);
                Ok(())
            }
            Action::KeepOnline(instance) => {
                self.keep_online(&instance);
                Ok(())
            }
            Action::Warn { jobs, in_s } => {
                log::warn!("{}", waiting::announcement(&jobs, in_s));
                self.book.ledger.warned.extend(jobs.into_iter().map(|job| (job, self.facts.now)));
                Ok(())
            }
            Action::Cancel(cancelled) => self.cancel(&cancelled),
            Action::Launch(new) => self.launch(new),
        }
    }

    fn keep_online(&mut self, instance: &InstanceName) {
        let Some(registration) = self.registrations.get(instance) else { return };
        let about = runners::about_token(instance);
        match self.gitlab.keep_runner_alive(&registration.token, KEEP_ALIVE_ID) {
            Ok(true) => {
                runners::note_token(&mut self.book.ledger, instance, registration, true);
                self.troubles.over(&about);
            }
            Ok(false) => {
                runners::note_token(&mut self.book.ledger, instance, registration, false);
                let text = format!(
                    "GitLab refuses the token of instance `{instance}`\nhint: `gitlab-meta-runner configure` gets a new one"
                );
                self.troubles.error(&about, &text);
                // gitlab-runner would end with the same answer.
                self.refused.insert(instance.clone());
            }
            // The next tick tries again.
            Err(error) => {
                log::debug!("instance `{instance}` was not kept online: {error}");
                return;
            }
        }
        self.book.ledger.keep_alive.insert(instance.to_string(), self.facts.now);
    }

    fn cancel(&mut self, cancelled: &[Cancellation]) -> Result<(), LauncherError> {
        let instance = |cancellation: &Cancellation| {
            let launch = self.book.ledger.launches.iter().find(|launch| launch.id == cancellation.id)?;
            let command = self.setup.command(&launch.instance, "", 1).ok()?;
            Some((launch.instance.clone(), command))
        };
        // Whichever can be expanded: they are all of one batch system.
        let Some((instance, command)) = cancelled.iter().find_map(instance) else { return Ok(()) };
        let Some(scheduler) = self.setup.description(&command.scheduler) else { return Ok(()) };
        let mut line = queue::command(self.setup, &instance, &scheduler.cancel, &[])?;
        for cancellation in cancelled {
            if cancellation.tasks.is_empty() {
                line.args.push(cancellation.batch_id.clone());
            }
            for task in &cancellation.tasks {
                let variables = [("ID", cancellation.batch_id.as_str()), ("TASK", &task.to_string())];
                line.args.extend(self.setup.expand(&instance, scheduler.task.as_slice(), &variables)?);
            }
        }
        self.book.lease.renew_ahead(command.timeout_s).map_err(LauncherError::Lease)?;
        let result = process::run(&line, Duration::from_secs(command.timeout_s))
            .and_then(|output| output.require_success(&line));
        if let Err(error) = result {
            // Some may have begun or ended meanwhile; the queue will tell of each.
            log::info!("not everything was cancelled: {error}");
            return Ok(());
        }
        let Ledger { launches, totals, .. } = &mut self.book.ledger;
        for cancellation in cancelled {
            let Some(launch) = launches.iter_mut().find(|launch| launch.id == cancellation.id) else {
                continue;
            };
            log::info!("cancelled `{}`: no job waits for it", launch.id);
            let before = launch.live_elements();
            if cancellation.tasks.is_empty() {
                launch.state = State::Cancelled;
                launch.reason = Some("no job waited for it any more".to_owned());
                launch.changed = clock::now();
            } else {
                let left = launch.waiting_elements().saturating_sub(cancellation.tasks.len() as u32);
                launch.waiting = Some(left);
            }
            totals.of(launch.instance.as_str()).cancelled += u64::from(before - launch.live_elements());
        }
        self.book.save()
    }

    fn launch(&mut self, new: NewLaunch) -> Result<(), LauncherError> {
        let now = clock::now();
        let Some(site) = self.facts.sites.get(&new.instance) else { return Ok(()) };
        if self.is_stuck || self.refused.contains(&new.instance) {
            return Ok(());
        }
        let mut launch = Launch {
            id: Self::new_id(now),
            instance: new.instance,
            elements: new.elements,
            slots: new.slots,
            batch_id: None,
            submitted: now,
            changed: now,
            state: State::Submitting,
            reason: None,
            jobs: new.jobs,
            waiting: None,
            runs: Vec::new(),
            lost_at: BTreeMap::new(),
            surplus: None,
            refused_config: None,
        };
        let fingerprint = site.fingerprint.clone();
        let about = format!("launches for `{}`", launch.instance);
        let command = match submit::command(self.setup, &launch) {
            Ok(command) => command,
            Err(error) => {
                self.troubles.failure(&about, &error);
                self.refused.insert(launch.instance);
                return Ok(());
            }
        };
        self.book.ledger.launches.push(launch.clone());
        self.book.ledger.totals.of(launch.instance.as_str()).launches += u64::from(launch.elements);
        self.book.save()?;
        self.book.lease.renew_ahead(command.timeout_s).map_err(LauncherError::Lease)?;
        let refusal = submit::submit(self.setup, &mut launch, &command, &fingerprint);
        match refusal {
            Some(text) => {
                // The next one has another id, and the same trouble.
                let text = text.replace(&launch.id, "$LAUNCH_ID");
                let text = format!("the launch for instance `{}` failed: {text}", launch.instance);
                self.troubles.error(&about, &text);
                if launch.state == State::Failed {
                    let totals = self.book.ledger.totals.of(launch.instance.as_str());
                    totals.refused += u64::from(launch.elements);
                }
                self.is_stuck = launch.state == State::Unknown;
                self.refused.insert(launch.instance.clone());
            }
            None => {
                self.troubles.over(&about);
                let (id, instance, jobs) = (&launch.id, &launch.instance, launch.jobs.len());
                log::info!("launched `{id}` for instance `{instance}`: {jobs} jobs");
            }
        }
        self.book.replace(launch);
        self.book.save()
    }

    /// Unique among our launches on all login nodes, and always of the same length: the time, and chance.
    fn new_id(now: u64) -> String {
        format!("{:08x}{:06x}", now & 0xffff_ffff, random::number() & 0xff_ffff)
    }
}
