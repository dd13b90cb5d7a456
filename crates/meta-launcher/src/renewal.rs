//! Runner tokens that expire: `meta-register --rotate` renews them, and the launcher calls it in time.

use std::collections::BTreeMap;
use std::time::Duration;

use meta_core::command_line::CommandLine;
use meta_core::launches::Ledger;
use meta_core::name::InstanceName;
use meta_core::registrations::{Registration, Registrations};
use meta_core::rotation::{TokenAge, starting, token_age};
use meta_host::{Failure as _, process};

use crate::runners;
use crate::setup::Setup;
use crate::troubles::Troubles;

/// Seconds until the next try. A token that nobody can renew costs a process and a warning in an hour, not at every tick.
const AGAIN_S: u64 = 3600;

/// It makes a few requests for each token.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What [`Troubles`] calls it.
const ABOUT: &str = "renewal of tokens";

/// Whether tokens are to be renewed now: GitLab refuses one, or one is old enough and nobody would miss it; and there was no
/// try just now.
pub(crate) fn is_due(registrations: &Registrations, ledger: &Ledger, start_grace_s: u64, now: u64) -> bool {
    let starting = starting(ledger, start_grace_s, now);
    let can_be_renewed =
        |(instance, registration): (&InstanceName, &Registration)| match token_age(registration, now) {
            _ if runners::is_refused(&ledger.refused_tokens, instance, registration) => true,
            TokenAge::Good => false,
            TokenAge::Due => !starting.contains(instance),
            TokenAge::Urgent | TokenAge::Expired => true,
        };
    now.saturating_sub(ledger.renewal_tried) >= AGAIN_S && registrations.iter().any(can_be_renewed)
}

/// Calls `meta-register`, which takes the lease that a tick holds, and tells whose token is old, or one of the `refused` of
/// the ledger, all the same.
pub(crate) fn renew(
    setup: &Setup<'_>,
    refused: &BTreeMap<String, String>,
    now: u64,
    troubles: &mut Troubles,
) {
    let command = command(setup);
    let said = match process::run(&command, TIMEOUT).and_then(|output| output.require_success(&command)) {
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        Err(error) => error.report().trim_start_matches("error: ").to_owned(),
    };
    let Ok(registrations) = setup.registrations() else { return };
    for (instance, registration) in
        registrations.iter().filter(|(name, _)| refused.contains_key(name.as_str()))
    {
        if !runners::is_refused(refused, instance, registration) {
            troubles.over(&runners::about_token(instance));
        }
    }
    let state = |(instance, registration): (&InstanceName, &Registration)| {
        if runners::is_refused(refused, instance, registration) {
            Some(format!("`{instance}` (refused)"))
        } else if token_age(registration, now) > TokenAge::Due {
            let end = registration.token_expires_at.as_deref().unwrap_or_default();
            Some(format!("`{instance}` (ends {end})"))
        } else {
            None
        }
    };
    let bad: Vec<String> = registrations.iter().filter_map(state).collect();
    if bad.is_empty() {
        troubles.over(ABOUT);
        return;
    }
    let text = format!(
        "tokens could not be renewed: {}{}{said}\nhint: call `{command}` yourself",
        bad.join(", "),
        if said.is_empty() { "" } else { "\ncaused by: " }
    );
    troubles.error(ABOUT, &text);
}

fn command(setup: &Setup<'_>) -> CommandLine {
    let paths = setup.paths;
    let flags = [
        ("--config-file", paths.config_file.clone()),
        ("--data-dir", paths.data_dir.clone()),
        ("--generated-config-file", paths.generated_config(setup.name())),
    ];
    let flags = flags.into_iter().flat_map(|(flag, path)| [flag.to_owned(), path.display().to_string()]);
    CommandLine::new(setup.environment.beside("meta-register"), flags.chain(["--rotate".to_owned()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::secret::Secret;
    use meta_core::time;

    fn due(now: &str, tried: &str, ledger: &str) -> bool {
        let registration = Registration {
            id: 1,
            token: Secret::new("glrt-x"),
            token_issued_at: Some("2026-01-01".to_owned()),
            token_expires_at: Some("2026-04-11".to_owned()),
        };
        let registrations = Registrations::from([("big".parse().unwrap(), registration)]);
        let mut ledger = Ledger::parse(&format!(r#"{{"version": 1, "launches": [{ledger}]}}"#)).unwrap();
        ledger.renewal_tried = time::parse(tried).unwrap();
        is_due(&registrations, &ledger, 150, time::parse(now).unwrap())
    }

    #[test]
    fn it_waits_for_its_time_for_launches_and_after_a_try() {
        let waiting = r#"{"id": "5f1c2e9a", "instance": "big", "elements": 1, "slots": 1, "batch_id": "1",
            "submitted": 1, "changed": 1, "state": "queued", "reason": null, "jobs": []}"#;
        let (long_ago, early, later, late) = ("2026-01-01", "2026-03-01", "2026-03-20", "2026-04-05");
        assert!(!due(early, long_ago, ""));
        assert!(due(later, long_ago, "") && !due(later, long_ago, waiting));
        assert!(due(late, long_ago, waiting));
        assert!(!due("2026-04-05T00:59:00Z", late, "") && due("2026-04-05T01:00:00Z", late, ""));
    }
}
