//! The command: read, compare, print the plan, apply it.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Parser;
use meta_core::config::Config;
use meta_core::config::launch::START_GRACE_S;
use meta_core::launches::Ledger;
use meta_core::name::InstanceName;
use meta_core::rotation::starting;
use meta_gitlab::{Client, session};
use meta_host::arguments::{CommonArgs, Paths};
use meta_host::files::{make_data_dir, read_private, require_data_dir};
use meta_host::lease::Lease;
use meta_host::{Environment, Failure as _, app, clock, configuration, exit};

use crate::apply::{Fate, apply};
use crate::desired::desired;
use crate::failure::{RegisterError, UnreadableRunner};
use crate::plan::{Facts, Plan, Step, plan};
use crate::remote::{Remote, Unreadable, owners, remote, remote_stored};
use crate::state::State;
use crate::{management, report};

/// Another run that does its work usually ends within this time.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// Makes GitLab's runners what the configuration says
#[derive(Debug, Parser)]
#[command(name = "meta-register", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Print plan and result as JSON
    #[arg(long)]
    json: bool,

    /// Only replace runner tokens that expire soon or are refused
    #[arg(long)]
    rotate: bool,
}

/// Registers, updates and deletes; returns an exit code.
pub(crate) fn run(args: &Args, environment: &Environment) -> Result<u8, RegisterError> {
    let paths = args.common.paths(environment).map_err(RegisterError::Paths)?;
    let config = configuration::load(&paths.config_file).map_err(RegisterError::Configuration)?;
    let gitlab = session::connect(&config, environment).map_err(RegisterError::Session)?;
    if args.dry_run {
        return dry_run(args, &config, &gitlab, &paths);
    }
    let name = config.name.as_str();
    make_data_dir(&paths.data_dir).map_err(RegisterError::File)?;
    let mut lease = Lease::acquire(&paths.lease(name), LEASE_WAIT).map_err(RegisterError::Lease)?;
    let mut state = State::load(&paths, name).map_err(RegisterError::State)?;
    let planned = make_plan(args, &config, &gitlab, &paths, &mut state)?;
    if !args.json {
        report::print_lines(&planned.plan);
    }
    if let Some(token) = &planned.token {
        management::require_scopes(token, &planned.plan.actions).map_err(RegisterError::Scopes)?;
    }
    state.settle().map_err(RegisterError::File)?;
    let fates = apply(&planned.plan.actions, &gitlab, &mut state, &mut lease);
    report_failures(&fates);
    if args.json {
        report::print_json(&planned.plan, Some(&fates));
    }
    Ok(exit_code(&config, &state, &planned, &fates))
}

fn dry_run(args: &Args, config: &Config, gitlab: &Client, paths: &Paths) -> Result<u8, RegisterError> {
    if paths.data_dir.exists() {
        require_data_dir(&paths.data_dir).map_err(RegisterError::File)?;
    }
    let mut state = State::load(paths, config.name.as_str()).map_err(RegisterError::State)?;
    let planned = make_plan(args, config, gitlab, paths, &mut state)?;
    if args.json {
        report::print_json(&planned.plan, None);
    } else {
        report::print_lines(&planned.plan);
    }
    Ok(exit_code(config, &state, &planned, &[]))
}

struct Planned {
    plan: Plan,
    /// The management token; None where GitLab says nothing of it.
    token: Option<meta_gitlab::tokens::TokenInfo>,
    /// Instances that could not be looked at; reported already.
    unreadable: BTreeSet<InstanceName>,
}

fn make_plan(
    args: &Args,
    config: &Config,
    gitlab: &Client,
    paths: &Paths,
    state: &mut State,
) -> Result<Planned, RegisterError> {
    let meta_runner = config.name.as_str();
    let now = clock::now();
    let token = management::look_up(gitlab, now).map_err(RegisterError::Read)?;
    if let Some(token) = &token {
        management::require_scopes(token, &[]).map_err(RegisterError::Scopes)?;
    }
    let owners = owners(gitlab, &config.scope).map_err(RegisterError::Read)?;
    let remote = match args.rotate {
        true => remote_stored(gitlab, &state.registrations),
        false => remote(gitlab, meta_runner, &owners, &state.registrations),
    };
    let remote = remote.map_err(RegisterError::Read)?;
    let unreadable = report_unreadable(&remote);
    state.learn_ends(&remote.tokens);
    let facts = Facts {
        meta_runner,
        owners: &owners,
        desired: &desired(config, &owners),
        stored: &state.registrations,
        remote: &remote,
        now,
        starting: &starting_launches(paths, config, &state.registrations, now),
    };
    let mut plan = plan(&facts);
    if args.rotate {
        plan.actions.retain(|action| matches!(action.step, Step::ResetToken { .. }));
    }
    for remark in &plan.remarks {
        let level = if remark.is_warning() { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{remark}");
    }
    Ok(Planned { plan, token, unreadable })
}

/// Instances of which a launch may be starting. Without the launcher's ledger there is none; with one that cannot be
/// understood it may be any of them.
fn starting_launches(
    paths: &Paths,
    config: &Config,
    stored: &meta_core::registrations::Registrations,
    now: u64,
) -> BTreeSet<InstanceName> {
    let start_grace_s = config.launch.as_ref().map_or(START_GRACE_S, |launch| launch.start_grace_s);
    let path = paths.launches(config.name.as_str());
    let text = match read_private(&path) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return BTreeSet::new(),
        Err(error) => {
            log::info!("{}", error.report());
            return stored.keys().cloned().collect();
        }
    };
    Ledger::parse(&text)
        .map_or_else(|_| stored.keys().cloned().collect(), |ledger| starting(&ledger, start_grace_s, now))
}

fn report_unreadable(remote: &Remote) -> BTreeSet<InstanceName> {
    for (id, Unreadable { instance, error }) in &remote.unreadable {
        app::report(&UnreadableRunner { id: *id, instance, source: error });
    }
    remote.unreadable.values().map(|runner| runner.instance.clone()).collect()
}

fn report_failures(fates: &[Fate]) {
    for fate in fates {
        if let Fate::Failed(error) = fate {
            app::report(error);
        }
    }
    let not_tried = fates.iter().filter(|fate| matches!(fate, Fate::NotTried)).count();
    if not_tried > 0 {
        log::error!("{not_tried} of {} actions were not tried: run the command again", fates.len());
    }
}

/// Partial if something was done, or if there is an instance with which nothing is wrong.
fn exit_code(config: &Config, state: &State, planned: &Planned, fates: &[Fate]) -> u8 {
    let mut wrong = planned.unreadable.clone();
    let mut failure = (!wrong.is_empty()).then_some(exit::GITLAB);
    for (action, fate) in planned.plan.actions.iter().zip(fates) {
        if let Fate::Failed(error) = fate {
            failure = failure.or(Some(error.exit_code()));
        }
        if !matches!(fate, Fate::Done) {
            wrong.insert(action.instance.clone());
        }
    }
    let is_good = |name: &InstanceName| state.registrations.contains_key(name) && !wrong.contains(name);
    let some_are_good = config.instances.keys().any(is_good);
    match failure {
        None => exit::DONE,
        Some(_) if some_are_good || fates.iter().any(|fate| matches!(fate, Fate::Done)) => exit::PARTIAL,
        Some(code) => code,
    }
}
