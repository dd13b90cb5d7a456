//! Git over HTTP at `/<path>.git/...`: fetch with a job's or a user's token, push with a user's; objects of LFS to fetch.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as AxumState};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::cgi::{CgiRequest, run_backend};
use super::lfs;
use crate::api::App;
use crate::api::{MAX_BODY, plain_answer};
use crate::model::{Level, Project, Scope, State, Status};

/// Headers that `git http-backend` reads, and what CGI calls them.
const PASSED_ON: [(&str, &str); 3] = [
    ("content-type", "CONTENT_TYPE"),
    ("content-encoding", "HTTP_CONTENT_ENCODING"),
    ("git-protocol", "HTTP_GIT_PROTOCOL"),
];

/// Answers anything that is not API or control.
pub(crate) async fn serve(AxumState(app): AxumState<App>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let Some((repository, rest)) = path.trim_start_matches('/').split_once(".git/") else {
        return plain_answer(StatusCode::NOT_FOUND, &[], "no such page in the stand-in");
    };
    let pushes = path.ends_with("/git-receive-pack") || query.contains("service=git-receive-pack");
    let credentials =
        head.headers.get(AUTHORIZATION).and_then(|value| basic_credentials(value.to_str().ok()?));
    let allowed = {
        let state = app.lock();
        let granted = grant(&state, repository, pushes, credentials);
        granted.map(|user| (user, state.state_dir.join("repositories")))
    };
    let (user, root) = match allowed {
        Ok(granted) => granted,
        Err(refusal) => return refusal,
    };
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return plain_answer(StatusCode::PAYLOAD_TOO_LARGE, &[], "too large");
    };
    let headers = PASSED_ON
        .iter()
        .filter_map(|(header, cgi)| Some((*cgi, head.headers.get(*header)?.to_str().ok()?.to_owned())));
    let headers: Vec<(&'static str, String)> = headers.collect();
    if let Some(ask) = lfs::Ask::of(rest) {
        let authorization =
            head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let url = format!("{}/{repository}.git", app.lock().url);
        return lfs::answer(&ask, &root.join(format!("{repository}.git")), &url, authorization, &body);
    }
    let method = head.method.as_str().to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let (path, query, user) = (path.as_str(), query.as_str(), user.as_str());
        run_backend(&CgiRequest { root: &root, method: &method, path, query, headers, user, body: &body })
    });
    match answer.await {
        Ok(Ok(answer)) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers: Vec<(&str, &str)> =
                answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            plain_answer(status, &headers, Body::from(answer.body))
        }
        _ => plain_answer(StatusCode::INTERNAL_SERVER_ERROR, &[], "git http-backend failed"),
    }
}

/// The name to show to the backend, or the refusal. A project that the caller may not see does not exist for him.
fn grant(
    state: &State,
    path: &str,
    pushes: bool,
    credentials: Option<(String, String)>,
) -> Result<String, Response> {
    let missing =
        || plain_answer(StatusCode::NOT_FOUND, &[], "The project you were looking for could not be found.");
    let denied = || {
        let challenge = [("WWW-Authenticate", "Basic realm=\"GitLab\"")];
        plain_answer(StatusCode::UNAUTHORIZED, &challenge, "HTTP Basic: Access denied.")
    };
    let project = state.project_by_key(path);
    let Some((name, password)) = credentials else {
        let public = project.is_some_and(|project| project.public);
        return if public && !pushes { Ok("anonymous".to_owned()) } else { Err(denied()) };
    };
    if name == "gitlab-ci-token" {
        let job = state.job_by_token(&password).ok_or_else(denied)?;
        if !matches!(job.status, Status::Running | Status::Canceling) {
            return Err(denied());
        }
        let project = project.filter(|project| project.public || project.id == job.project_id);
        project.ok_or_else(missing)?;
        let refused = "You are not allowed to push code to this project.";
        return if pushes { Err(plain_answer(StatusCode::FORBIDDEN, &[], refused)) } else { Ok(name) };
    }
    let now = state.now();
    let token = state.tokens.values().find(|token| token.secret == password && !token.revoked);
    let token = token.filter(|token| token.expires_at.is_none_or(|end| end > now)).ok_or_else(denied)?;
    let scope = if pushes { Scope::WriteRepository } else { Scope::ReadRepository };
    let user = state.users.get(&token.user_id).ok_or_else(denied)?;
    let project: &Project = project.ok_or_else(missing)?;
    let level = state.level_in_project(user, project);
    if level.is_none() && !project.public {
        return Err(missing());
    }
    let scope_fits =
        [scope, Scope::Api, Scope::WriteRepository].iter().any(|wanted| token.scopes.contains(wanted));
    let role_fits = if pushes {
        level >= Some(Level::Developer)
    } else {
        level >= Some(Level::Reporter) || project.public
    };
    if !scope_fits || !role_fits {
        return Err(plain_answer(StatusCode::FORBIDDEN, &[], "You are not allowed to do this."));
    }
    Ok(user.username.clone())
}

/// Name and password of an `Authorization: Basic` header.
pub(crate) fn basic_credentials(header: &str) -> Option<(String, String)> {
    let decoded = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}
