//! The management token: what it may do, and for how long.

use std::collections::BTreeSet;

use meta_core::time;
use meta_gitlab::tokens::TokenInfo;
use meta_gitlab::{ApiError, Client, ErrorKind};
use meta_host::{Failure, exit};

use crate::plan::{Action, Step};

/// Days before its end from which on every run says so.
const WARNING_DAYS: u64 = 14;

/// Asks GitLab about the token, and warns if it ends soon. None where GitLab does not tell (before 15.5, or a token of
/// another kind): what it lacks is then found out by the calls that need it.
pub(crate) fn look_up(gitlab: &Client, now: u64) -> Result<Option<TokenInfo>, ApiError> {
    let token = match gitlab.own_token() {
        Ok(token) => token,
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(warning) = expiry_warning(&token, now) {
        log::warn!("{warning}");
    }
    Ok(Some(token))
}

/// An error if the token lacks a scope for looking, or for one of the actions.
pub(crate) fn require_scopes(token: &TokenInfo, actions: &[Action]) -> Result<(), ScopeError> {
    let missing: Vec<&str> = needed_scopes(actions).into_iter().filter(|scope| !has(token, scope)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(ScopeError { token: token.name.clone(), missing: missing.join(" and ") }),
    }
}

/// The management token cannot do what the plan asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the management token `{token}` lacks {missing}")]
pub(crate) struct ScopeError {
    token: String,
    missing: String,
}

impl Failure for ScopeError {
    fn exit_code(&self) -> u8 {
        exit::GITLAB
    }

    fn hint(&self) -> Option<String> {
        Some(
            "make a new one with the scopes read_api, create_runner and manage_runner; nothing was changed"
                .to_owned(),
        )
    }
}

fn needed_scopes(actions: &[Action]) -> BTreeSet<&'static str> {
    let mut scopes = BTreeSet::from(["read_api"]);
    for action in actions {
        match &action.step {
            Step::Create(_) => {
                scopes.insert("create_runner");
            }
            Step::Recreate { .. } => scopes.extend(["create_runner", "manage_runner"]),
            Step::Forget { .. } => {}
            Step::Adopt { .. }
            | Step::ResetToken { .. }
            | Step::Update { .. }
            | Step::Assign { .. }
            | Step::Delete { .. } => {
                scopes.insert("manage_runner");
            }
        }
    }
    scopes
}

/// `api` is everything.
fn has(token: &TokenInfo, scope: &str) -> bool {
    token.scopes.iter().any(|own| own == scope || own == "api")
}

fn expiry_warning(token: &TokenInfo, now: u64) -> Option<String> {
    let end = token.expires_at.as_deref()?;
    let days = time::parse(end)?.saturating_sub(now) / (24 * 3600);
    (days < WARNING_DAYS).then(|| {
        let name = &token.name;
        let left = match days {
            0 => "in less than a day".to_owned(),
            1 => "in 1 day".to_owned(),
            _ => format!("in {days} days"),
        };
        format!(
            "the management token `{name}` expires on {end}, {left}: make a new one, or rotate it in GitLab"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(scopes: &[&str], expires_at: Option<&str>) -> TokenInfo {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        TokenInfo { name: "t".to_owned(), scopes, expires_at: expires_at.map(str::to_owned) }
    }

    fn missing(scopes: &[&str], step: Step) -> Option<String> {
        let action = Action { instance: "x".parse().unwrap(), step };
        require_scopes(&token(scopes, None), &[action]).err().map(|error| error.missing)
    }

    #[test]
    fn an_action_needs_its_scope() {
        let delete = || Step::Delete { id: 1, leave: Vec::new() };
        assert_eq!(missing(&["api"], delete()), None);
        assert_eq!(missing(&["read_api", "manage_runner"], delete()), None);
        assert_eq!(missing(&["read_api", "create_runner"], delete()), Some("manage_runner".to_owned()));
        assert_eq!(missing(&[], delete()), Some("manage_runner and read_api".to_owned()));
        let forget = Step::Forget { id: 1, reason: crate::plan::ForgetReason::Gone };
        assert_eq!(missing(&["read_api"], forget), None);
    }

    #[test]
    fn the_end_is_announced() {
        let now = time::parse("2026-11-24T12:00:00Z").unwrap();
        let warning = |end| expiry_warning(&token(&[], end), now);
        assert_eq!(warning(None), None);
        assert_eq!(warning(Some("2026-12-09")), None);
        let text = warning(Some("2026-12-01")).unwrap();
        assert!(text.starts_with("the management token `t` expires on 2026-12-01, in 6 days"), "{text}");
        assert!(warning(Some("2026-11-25")).unwrap().contains("in less than a day"));
    }
}
