//! One request as the handlers see it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, RawPathParams, Request};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

use super::error::ApiError;
use super::params::Params;
use crate::model::State;
use crate::sweeps::run_due;

/// Largest body that is read at all.
pub(crate) const MAX_BODY: usize = 1 << 30;

/// The shared server.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Mutex<State>>);

impl App {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// The state, after everything that is due by the clock has happened.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run_due(&mut state);
        state
    }
}

/// What handlers return.
pub(crate) type Answer = Result<Response, ApiError>;

/// A request with its parameters read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) headers: HeaderMap,
    pub(crate) uri: Uri,
    pub(crate) params: Params,
    pub(crate) body: Bytes,
    path: Vec<(String, String)>,
}

impl Call {
    /// A decoded path segment.
    pub(crate) fn segment(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A numeric path segment; anything else is a parameter error, as in GitLab.
    pub(crate) fn id(&self, name: &str) -> Result<i64, ApiError> {
        self.segment(name).parse().map_err(|_| ApiError::parameter(format!("{name} is invalid")))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl FromRequest<App> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut head, body) = request.into_parts();
        let path = {
            use axum::extract::FromRequestParts;
            RawPathParams::from_request_parts(&mut head, app).await
        };
        let path = path.map(|path| path.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        let body = to_bytes(body, MAX_BODY).await;
        let body =
            body.map_err(|_| ApiError::with_status(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"))?;
        let (headers, uri) = (head.headers.clone(), head.uri.clone());
        let params = Params::read(Request::from_parts(head, Body::empty()), body.clone()).await?;
        Ok(Self { app: app.clone(), headers, uri, params, body, path: path.unwrap_or_default() })
    }
}

/// A JSON answer. Runners refuse a job whose content type is anything but exactly `application/json`.
pub(crate) fn json_answer(status: StatusCode, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut answer = Response::builder().status(status).header("Content-Type", "application/json");
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    built(answer.body(Body::from(body.to_string())))
}

/// An answer without a body worth reading.
pub(crate) fn plain_answer(status: StatusCode, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    built(answer.body(body.into()))
}

/// 200 with JSON.
pub(crate) fn ok(body: &Value) -> Answer {
    Ok(json_answer(StatusCode::OK, &[], body))
}

/// 201 with JSON.
pub(crate) fn created(body: &Value) -> Answer {
    Ok(json_answer(StatusCode::CREATED, &[], body))
}

/// 204.
pub(crate) fn no_content() -> Answer {
    Ok(plain_answer(StatusCode::NO_CONTENT, &[], Body::empty()))
}

fn built(answer: axum::http::Result<Response>) -> Response {
    // Fails only for header values with control characters, which come from fault switches alone.
    answer.unwrap_or_else(|_| {
        let mut broken = Response::new(Body::from("bad header in a fault switch"));
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}
