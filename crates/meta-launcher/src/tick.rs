//! One tick: lease, ledger, facts, plan, apply. The ledger is saved before and after every submission.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::facts::Facts;
use crate::outlook::Note;
use crate::plan::{Action, NewLaunch, Plan, plan};
use crate::surplus::Cancellation;
use meta_core::launches::{Launch, Ledger, State};
use meta_core::name::InstanceName;
use meta_core::registrations::Registrations;
use meta_gitlab::Client;
use meta_host::files::{make_data_dir, remove_abandoned, write_private};
use meta_host::lease::{Lease, LeaseError};
use meta_host::{clock, exit, process, random};

use crate::failure::LauncherError;
use crate::setup::Setup;
use crate::troubles::Troubles;
use crate::{gather, metrics, queue, renewal, runners, submit};

/// A tick that meets another one leaves soon.
const LEASE_WAIT: Duration = Duration::from_secs(5);

/// The system id under which instances are kept online. Nothing registers it: removing a runner's last manager would
/// clear its contact time.
const KEEP_ALIVE_ID: &str = "r_kept_online";

/// Launches what is missing now; returns an exit code. `stop` is asked between the actions.
pub(crate) fn tick(
    setup: &Setup<'_>,
    gitlab: &Client,
    troubles: &mut Troubles,
    stop: &dyn Fn() -> bool,
) -> Result<u8, LauncherError> {
    make_data_dir(&setup.paths.data_dir).map_err(LauncherError::File)?;
    let mut lease = match Lease::acquire(&setup.paths.lease(setup.name()), LEASE_WAIT) {
        Ok(lease) => lease,
        // Whoever holds it does what there is to do.
        Err(error @ LeaseError::Held { .. }) => {
            log::info!("nothing is done: {error}");
            return Ok(exit::DONE);
        }
        Err(error) => return Err(LauncherError::Lease(error)),
    };
    remove_abandoned(&setup.paths.launches(setup.name()));
    let registrations = setup.registrations()?;
    let mut ledger = setup.ledger()?;
    let saved = ledger.render();
    let requests = gitlab.requests();
    let facts = gather::facts(setup, &mut ledger, &registrations, gitlab, troubles, &mut || {
        lease.renew().map_err(LauncherError::Lease)
    })?;
    let plan = plan(&facts);
    let mut tick = Tick {
        setup,
        gitlab,
        troubles,
        registrations,
        facts,
        lease,
        ledger,
        saved,
        failed: false,
        refused: BTreeSet::new(),
        is_stuck: false,
    };
    let Plan { actions, outlooks, unmatched } = plan;
    for (instance, outlook) in &outlooks {
        if outlook.notes.contains(&Note::NotRegistered) {
            let jobs = outlook.waiting;
            let text = format!(
                "instance `{instance}` has waiting jobs ({jobs}) and is not registered\nhint: run `gitlab-meta-runner configure`"
            );
            tick.troubles.error(instance.as_str(), &text);
        }
    }
    for action in actions {
        if stop() {
            break;
        }
        // Each may take minutes.
        tick.lease.renew().map_err(LauncherError::Lease)?;
        tick.perform(action)?;
    }
    let now = clock::now();
    let renews = renewal::is_due(&tick.registrations, &tick.ledger, setup.launch.start_grace_s, now);
    if renews {
        tick.ledger.renewal_tried = now;
    }
    tick.ledger.prune(now);
    tick.save()?;
    let failed = tick.failed;
    let text = metrics::render(
        setup.name(),
        &tick.facts,
        &tick.ledger,
        &outlooks,
        unmatched.len(),
        gitlab.requests() - requests,
    );
    // Figures are not worth more than what follows.
    match setup.metrics_file().and_then(|path| path.map_or(Ok(()), |path| metrics::write(&path, &text))) {
        Ok(()) => tick.troubles.over("metrics"),
        Err(error) => tick.troubles.failure("metrics", &error),
    }
    // The lease is released.
    drop(tick);
    if renews {
        renewal::renew(setup, now, troubles);
    }
    Ok(if troubles.take_met() | failed { exit::PARTIAL } else { exit::DONE })
}

struct Tick<'a> {
    setup: &'a Setup<'a>,
    gitlab: &'a Client,
    troubles: &'a mut Troubles,
    registrations: Registrations,
    facts: Facts,
    lease: Lease,
    ledger: Ledger,
    /// The file's text.
    saved: String,
    /// Whether something went wrong.
    failed: bool,
    /// Instances whose launch was refused in this tick: the next one would be, too.
    refused: BTreeSet<InstanceName>,
    /// Whether a submission did not come back. The next one would not, either.
    is_stuck: bool,
}

impl Tick<'_> {
    fn perform(&mut self, action: Action) -> Result<(), LauncherError> {
        match action {
            Action::Settle(settled) => {
                self.replace(settled);
                Ok(())
            }
            Action::KeepOnline(instance) => {
                self.keep_online(&instance);
                Ok(())
            }
            Action::Warn { job, in_s } => {
                let hours = in_s / 3600;
                log::warn!(
                    "job {job} still waits: GitLab drops it in less than {} h (retry it in GitLab then)",
                    hours + 1
                );
                self.ledger.warned.insert(job, self.facts.now);
                Ok(())
            }
            Action::Cancel(cancelled) => self.cancel(&cancelled),
            Action::Launch(new) => self.launch(new),
        }
    }

    fn keep_online(&mut self, instance: &InstanceName) {
        let Some(registration) = self.registrations.get(instance) else { return };
        match self.gitlab.keep_runner_alive(&registration.token, KEEP_ALIVE_ID) {
            Ok(true) => {
                runners::note_token(&mut self.ledger, instance, registration, true);
                self.troubles.over(instance.as_str());
            }
            Ok(false) => {
                runners::note_token(&mut self.ledger, instance, registration, false);
                let text = format!(
                    "GitLab refuses the token of instance `{instance}`\nhint: `gitlab-meta-runner configure` gets a new one"
                );
                self.troubles.error(instance.as_str(), &text);
            }
            // The next tick tries again.
            Err(error) => {
                log::debug!("instance `{instance}` was not kept online: {error}");
                return;
            }
        }
        self.ledger.keep_alive.insert(instance.to_string(), self.facts.now);
    }

    fn cancel(&mut self, cancelled: &[Cancellation]) -> Result<(), LauncherError> {
        let instance = |cancellation: &Cancellation| {
            let launch = self.ledger.launches.iter().find(|launch| launch.id == cancellation.id)?;
            Some(&launch.instance)
        };
        // Whichever can be expanded: they are all of one batch system.
        let mut commands = cancelled.iter().filter_map(instance);
        let Some(command) = commands.find_map(|instance| self.setup.command(instance, "", 1).ok()) else {
            return Ok(());
        };
        let Some(scheduler) = self.setup.description(&command.scheduler) else { return Ok(()) };
        let mut line = queue::command(self.setup, &scheduler.cancel, &[])?;
        for cancellation in cancelled {
            if cancellation.tasks.is_empty() {
                line.args.push(cancellation.batch_id.clone());
            }
            for task in &cancellation.tasks {
                let variables = [("ID", cancellation.batch_id.as_str()), ("TASK", &task.to_string())];
                line.args.extend(self.setup.expand(scheduler.task.as_slice(), &variables)?);
            }
        }
        self.lease.renew_ahead(command.timeout_s).map_err(LauncherError::Lease)?;
        let result = process::run(&line, Duration::from_secs(command.timeout_s))
            .and_then(|output| output.require_success(&line));
        if let Err(error) = result {
            // Some may have begun or ended meanwhile; the queue will tell of each.
            log::info!("not everything was cancelled: {error}");
            return Ok(());
        }
        for cancellation in cancelled {
            let Some(launch) = self.ledger.launches.iter_mut().find(|launch| launch.id == cancellation.id)
            else {
                continue;
            };
            log::info!("cancelled `{}`: no job waits for it", launch.id);
            if cancellation.tasks.is_empty() {
                launch.state = State::Cancelled;
                launch.reason = Some("no job waited for it any more".to_owned());
                launch.changed = clock::now();
            } else {
                let left = launch.waiting_elements().saturating_sub(cancellation.tasks.len() as u32);
                launch.waiting = Some(left);
            }
        }
        self.save()
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
            lost: Vec::new(),
            surplus_since: None,
            refused_config: None,
        };
        let fingerprint = site.fingerprint.clone();
        let about = format!("the launch of `{}`", launch.instance);
        let command = match submit::command(self.setup, &launch) {
            Ok(command) => command,
            Err(error) => {
                self.troubles.failure(&about, &error);
                self.refused.insert(launch.instance);
                return Ok(());
            }
        };
        self.troubles.over(&about);
        self.ledger.launches.push(launch.clone());
        self.save()?;
        self.lease.renew_ahead(command.timeout_s).map_err(LauncherError::Lease)?;
        let refusal = submit::submit(self.setup, &mut launch, &command, &fingerprint);
        match refusal {
            Some(text) => {
                log::error!("the launch for instance `{}` failed: {text}", launch.instance);
                self.failed = true;
                self.is_stuck = launch.state == State::Unknown;
                self.refused.insert(launch.instance.clone());
            }
            None => log::info!(
                "launched `{}` for instance `{}`: {} jobs",
                launch.id,
                launch.instance,
                launch.jobs.len()
            ),
        }
        self.replace(launch);
        self.save()
    }

    /// Unique among our launches on all login nodes, and always of the same length: the time, and chance.
    fn new_id(now: u64) -> String {
        format!("{:08x}{:06x}", now & 0xffff_ffff, random::number() & 0xff_ffff)
    }

    fn replace(&mut self, changed: Launch) {
        if let Some(launch) = self.ledger.launches.iter_mut().find(|launch| launch.id == changed.id) {
            *launch = changed;
        }
    }

    /// Writes the ledger if it has changed. A lease that another process took over ends the tick before that.
    fn save(&mut self) -> Result<(), LauncherError> {
        self.lease.renew().map_err(LauncherError::Lease)?;
        let text = self.ledger.render();
        if text != self.saved {
            let path = self.setup.paths.launches(self.setup.name());
            write_private(&path, text.as_bytes()).map_err(LauncherError::File)?;
            self.saved = text;
        }
        Ok(())
    }
}
