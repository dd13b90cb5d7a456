//! Refusals, in GitLab's words.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::call::json_answer;

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

impl ApiError {
    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    fn message(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, json!({ "message": text.into() }))
    }

    /// A parameter that is missing or has a wrong value: `{"error": "scope does not have a valid value"}`.
    pub(crate) fn parameter(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, json!({ "error": text.into() }))
    }

    /// 400 with `400 Bad request - REASON`.
    pub(crate) fn bad_request(reason: &str) -> Self {
        Self::message(StatusCode::BAD_REQUEST, format!("400 Bad request - {reason}"))
    }

    /// 400 with a message of a model's own, text or object.
    pub(crate) fn invalid(message: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, json!({ "message": message.into() }))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::message(StatusCode::UNAUTHORIZED, "401 Unauthorized")
    }

    /// 401 of a token that was good once.
    pub(crate) fn invalid_token(description: &str) -> Self {
        let body = json!({ "error": "invalid_token", "error_description": description });
        Self::new(StatusCode::UNAUTHORIZED, body)
    }

    pub(crate) fn forbidden() -> Self {
        Self::message(StatusCode::FORBIDDEN, "403 Forbidden")
    }

    /// 403 with `403 Forbidden - REASON`.
    pub(crate) fn forbidden_because(reason: &str) -> Self {
        Self::message(StatusCode::FORBIDDEN, format!("403 Forbidden - {reason}"))
    }

    /// 403 of a token that lacks all of `scopes`.
    pub(crate) fn insufficient_scope(scopes: &str) -> Self {
        let body = json!({
            "error": "insufficient_scope",
            "error_description": "The request requires higher privileges than provided by the access token.",
            "scope": scopes,
        });
        Self::new(StatusCode::FORBIDDEN, body)
    }

    /// 404 with `404 KIND Not Found`.
    pub(crate) fn not_found(kind: &str) -> Self {
        let text = if kind.is_empty() { "404 Not Found".to_owned() } else { format!("404 {kind} Not Found") };
        Self::message(StatusCode::NOT_FOUND, text)
    }

    /// Any status with `CODE TEXT` as message.
    pub(crate) fn with_status(status: StatusCode, text: &str) -> Self {
        Self::message(status, format!("{} {text}", status.as_u16()))
    }

    /// The per-endpoint limiter.
    pub(crate) fn limited() -> Self {
        let text = "This endpoint has been requested too many times. Try again later.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, json!({ "message": { "error": text } }))
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        json_answer(self.status, &headers, &self.body)
    }
}
