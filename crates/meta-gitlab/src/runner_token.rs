//! Calls that authenticate with a runner's own token instead of the management token.

use meta_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::Method;

use crate::ApiError;
use crate::client::{Call, Client};
use crate::error::ErrorKind;
use crate::retry::Repeat;

/// What GitLab thinks of a runner token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// It is the token of this runner.
    Valid {
        runner_id: u64,
        /// ISO 8601; None: never.
        expires_at: Option<String>,
    },
    /// It was reset, has expired, or its runner was deleted.
    Refused,
}

#[derive(Serialize)]
struct WireRunnerToken<'a> {
    token: &'a str,
    system_id: &'a str,
}

#[derive(Deserialize)]
struct WireVerified {
    id: u64,
    token_expires_at: Option<String>,
}

impl Client {
    /// `POST /runners/verify`. Makes a manager record named `system_id`.
    pub fn verify_runner_token(&self, token: &Secret, system_id: &str) -> Result<TokenState, ApiError> {
        match self.send_with_runner_token::<WireVerified>(Method::POST, "/runners/verify", token, system_id) {
            Ok(verified) => {
                Ok(TokenState::Valid { runner_id: verified.id, expires_at: verified.token_expires_at })
            }
            Err(error) if error.kind == ErrorKind::Forbidden => Ok(TokenState::Refused),
            Err(error) => Err(error),
        }
    }

    /// Makes the runner count as online without taking a job. False if the token is refused.
    ///
    /// `DELETE /runners/managers` with a `system_id` that no manager has: GitLab checks the token, notes the contact, and
    /// answers 404. `system_id` must stay one that nothing registers, because removing the last manager of a runner would
    /// clear its contact time (gitlab `lib/api/ci/runner.rb`).
    pub fn keep_runner_alive(&self, token: &Secret, system_id: &str) -> Result<bool, ApiError> {
        match self.send_with_runner_token::<Value>(Method::DELETE, "/runners/managers", token, system_id) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) if error.kind == ErrorKind::Forbidden => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn send_with_runner_token<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        system_id: &str,
    ) -> Result<T, ApiError> {
        let call = Call { method, path, scope: "", repeat: Repeat::Harmless, with_our_token: false };
        let body = WireRunnerToken { token: token.reveal(), system_id };
        Ok(self.send(&call, Some(&body))?.value)
    }
}
