//! `/user`, `/version`, and the caller's own token.

use serde_json::json;

use super::call::{Answer, Call, ok};
use super::entities;
use super::error::ApiError;
use crate::clock::{date, iso};
use crate::model::Scope;
use crate::pipeline::{REVISION, VERSION};

pub(super) async fn user(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[Scope::Api, Scope::ReadApi, Scope::ReadUser])?;
    let mut body = entities::user(&state, &caller.user);
    body["email"] = json!(format!("{}@example.org", caller.user.username));
    body["is_admin"] = json!(caller.user.admin);
    ok(&body)
}

pub(super) async fn version(call: Call) -> Answer {
    let mut state = call.app.lock();
    call.caller(&mut state, &[Scope::Api, Scope::ReadApi, Scope::ReadUser])?;
    ok(&json!({ "version": VERSION, "revision": REVISION }))
}

pub(super) async fn metadata(call: Call) -> Answer {
    let mut state = call.app.lock();
    call.caller(&mut state, &[Scope::Api, Scope::ReadApi, Scope::ReadUser])?;
    ok(&json!({
        "version": VERSION,
        "revision": REVISION,
        "kas": { "enabled": false, "externalUrl": null, "externalK8sProxyUrl": null, "version": null },
        "enterprise": false,
    }))
}

pub(super) async fn token(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[])?;
    let token = state.tokens.get(&caller.token_id).ok_or_else(ApiError::unauthorized)?;
    ok(&json!({
        "id": token.id,
        "name": token.name,
        "revoked": token.revoked,
        "created_at": iso(token.created_at),
        "description": null,
        "scopes": token.scopes,
        "user_id": token.user_id,
        "last_used_at": token.last_used_at.map(iso),
        "active": true,
        "expires_at": token.expires_at.map(date),
    }))
}

/// Everything that the stand-in does not have.
pub(super) async fn unknown_route() -> Answer {
    Err(ApiError::not_found(""))
}
