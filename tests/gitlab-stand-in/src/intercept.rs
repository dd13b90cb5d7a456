//! What happens to every request before and after its handler: faults, the general throttle, the ledger.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State as AxumState};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Notify;

use crate::api::{ApiError, App, MAX_BODY, json_answer, plain_answer};
use crate::clock::Time;
use crate::faults::{FaultAnswer, take_fault};
use crate::git::basic_credentials;
use crate::ledger::Record;
use crate::model::State;

/// The connection of a request; notifying it closes the socket.
#[derive(Debug, Clone)]
pub(crate) struct Connection(pub(crate) Arc<Notify>);

impl Connection {
    /// Closes the socket and never returns an answer.
    async fn drop_it(&self) -> Response {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// The layer around API and git.
pub(crate) async fn intercept(AxumState(app): AxumState<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("git", |path| path.as_str()).to_owned();
    let connection = request.extensions().get::<Connection>().cloned();
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return plain_answer(StatusCode::PAYLOAD_TOO_LARGE, &[], "too large");
    };
    let mut record = Record {
        at: String::new(),
        who: String::new(),
        method: head.method.to_string(),
        path: head.uri.to_string(),
        route,
        status: 0,
    };
    let (fault, throttled) = {
        let mut state = app.lock();
        record.who = who(&state, &head.headers, &body);
        let text = String::from_utf8_lossy(&body);
        let fault = take_fault(&mut state.faults, &record.method, &record.route, &text);
        (fault, throttle(&mut state, &record.who))
    };
    if let Some(delay) = fault.as_ref().map(|fault| fault.delay_ms).filter(|delay| *delay > 0) {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let answer = fault.and_then(|fault| fault.answer);
    let drops = matches!(answer, Some(FaultAnswer::Drop | FaultAnswer::DropAfter));
    let wrong = answer.as_ref().filter(|_| !drops).map(|answer| wrong_answer(answer, app.lock().now()));
    let response = match (wrong.or(throttled), &answer) {
        (_, Some(FaultAnswer::Drop)) => None,
        (Some(response), _) => Some(response),
        (None, _) => Some(next.run(Request::from_parts(head, Body::from(body))).await).filter(|_| !drops),
    };
    record.status = response.as_ref().map_or(0, |response| response.status().as_u16());
    {
        let mut state = app.lock();
        let now = state.now();
        state.ledger.record(now, record);
    }
    match (response, connection) {
        (Some(response), _) => response,
        (None, Some(connection)) => connection.drop_it().await,
        (None, None) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Counts the caller's call and answers with the plain-text throttle above the general limit.
fn throttle(state: &mut State, who: &str) -> Option<Response> {
    let (now, limit) = (state.now(), state.settings.requests_per_minute);
    let used = state.ledger.use_limit(now, "all", who);
    let rest = 60 - now.as_second().rem_euclid(60);
    (limit > 0 && used > limit).then(|| throttled(now, rest.unsigned_abs(), limit, used))
}

fn wrong_answer(answer: &FaultAnswer, now: Time) -> Response {
    match answer {
        FaultAnswer::Throttle { retry_after } => throttled(now, *retry_after, 60, 61),
        FaultAnswer::Limiter => ApiError::limited().into_response(),
        FaultAnswer::Status { status, body, headers } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            match body {
                serde_json::Value::Null => plain_answer(status, &headers, ""),
                serde_json::Value::String(text) => plain_answer(status, &headers, text.clone()),
                other => json_answer(status, &headers, other),
            }
        }
        FaultAnswer::Drop | FaultAnswer::DropAfter => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `Retry later`, with the headers of Rack::Attack as GitLab sets them.
fn throttled(now: Time, retry_after: u64, limit: u64, observed: u64) -> Response {
    let reset = now + crate::clock::seconds(i64::try_from(retry_after).unwrap_or(i64::MAX));
    let date = reset.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let (retry, limit, observed) = (retry_after.to_string(), limit.to_string(), observed.to_string());
    let reset = reset.as_second().to_string();
    let headers = [
        ("Content-Type", "text/plain"),
        ("Retry-After", retry.as_str()),
        ("RateLimit-Limit", &limit),
        ("RateLimit-Name", "throttle_authenticated_api"),
        ("RateLimit-Observed", &observed),
        ("RateLimit-Remaining", "0"),
        ("RateLimit-Reset", &reset),
        ("RateLimit-ResetTime", &date),
    ];
    plain_answer(StatusCode::TOO_MANY_REQUESTS, &headers, "Retry later\n")
}

/// Who asks, as far as his token tells: a user's name, `runner 7`, `job 12`, or `anonymous`.
fn who(state: &State, headers: &HeaderMap, body: &Bytes) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bearer = || header("authorization")?.strip_prefix("Bearer ").map(str::to_owned);
    let password = || basic_credentials(&header("authorization")?).map(|(_, password)| password);
    let in_body =
        || serde_json::from_slice::<serde_json::Value>(body).ok()?["token"].as_str().map(str::to_owned);
    let tokens = [header("private-token"), header("runner-token"), header("job-token"), bearer(), password()];
    let Some(token) = tokens.into_iter().flatten().next().or_else(in_body) else {
        return "anonymous".to_owned();
    };
    let user = state.tokens.values().find(|known| known.secret == token);
    if let Some(user) = user.and_then(|token| state.users.get(&token.user_id)) {
        return user.username.clone();
    }
    if let Some(runner) = state.runners.values().find(|runner| runner.token == token) {
        return format!("runner {}", runner.id);
    }
    state.job_by_token(&token).map_or_else(|| "anonymous".to_owned(), |job| format!("job {}", job.id))
}
