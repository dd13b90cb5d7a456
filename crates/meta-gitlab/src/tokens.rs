//! What GitLab says of the token that we call it with.

use serde::Deserialize;

use crate::ApiError;
use crate::client::Client;

/// The management token as GitLab sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenInfo {
    pub name: String,
    pub scopes: Vec<String>,
    /// A date, `2026-12-31`; None: never.
    pub expires_at: Option<String>,
}

impl Client {
    /// `GET /personal_access_tokens/self`. Works for project and group tokens too, with any scope.
    pub fn own_token(&self) -> Result<TokenInfo, ApiError> {
        self.get("/personal_access_tokens/self", "read_api")
    }
}
