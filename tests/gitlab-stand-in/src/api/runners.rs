//! Making, changing and removing runners as a user.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::auth::Caller;
use super::call::{Answer, Call, created, no_content, ok};
use super::entities;
use super::error::ApiError;
use super::paging::{keyset, paged};
use super::runner_api::{new_expiry, reset_token};
use super::runner_params::{RunnerChange, as_object, as_sentences};
use crate::clock::{iso, seconds};
use crate::lifecycle::tick_queue;
use crate::model::{Level, Runner, RunnerType, Scope, State, User};

/// Runners that were made or seen within this time count for the plan limit.
const COUNTED_FOR: i64 = 7 * 24 * 3600;

/// `POST /user/runners`. The token is shown here and never again.
pub(super) async fn create(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[Scope::Api, Scope::CreateRunner])?;
    let kind =
        call.params.text("runner_type").ok_or_else(|| ApiError::parameter("runner_type is missing"))?;
    let kind = RunnerType::parse(&kind);
    let kind = kind.ok_or_else(|| ApiError::parameter("runner_type does not have a valid value"))?;
    let (group_id, project_ids) = owner(&call, &state, &caller.user, kind)?;
    let change = RunnerChange::read(&call.params)?;
    let (id, token) = (state.next_id(), state.secrets.make(kind.token_prefix()));
    let mut runner = Runner::new(id, kind, token, state.now());
    runner.token_expires_at = new_expiry(&state);
    runner.group_id = group_id;
    runner.project_ids = project_ids;
    runner.creator_id = caller.user.id;
    change.apply(&mut runner).map_err(|broken| as_sentences(&broken))?;
    let body =
        json!({ "id": id, "token": runner.token, "token_expires_at": runner.token_expires_at.map(iso) });
    state.runners.insert(id, runner);
    created(&body)
}

/// Checks that the caller may make such a runner, and that the plan has room for it.
fn owner(
    call: &Call,
    state: &State,
    user: &User,
    kind: RunnerType,
) -> Result<(Option<i64>, Vec<i64>), ApiError> {
    let refused = || ApiError::forbidden_because("Insufficient permissions");
    let required = |name: &str| {
        call.params.integer(name)?.ok_or_else(|| ApiError::parameter(format!("{name} is missing")))
    };
    let owner = match kind {
        RunnerType::Instance if user.admin => return Ok((None, Vec::new())),
        RunnerType::Instance => return Err(refused()),
        RunnerType::Group => {
            let id = required("group_id")?;
            let group = state.groups.get(&id).ok_or_else(refused)?;
            if state.level_in_group(user, group.id) < Some(Level::Owner) {
                return Err(refused());
            }
            (Some(id), Vec::new())
        }
        RunnerType::Project => {
            let id = required("project_id")?;
            let project = state.projects.get(&id).ok_or_else(refused)?;
            if state.level_in_project(user, project) < Some(Level::Maintainer) {
                return Err(refused());
            }
            (None, vec![id])
        }
    };
    if !state.settings.runner_registration {
        return Err(refused());
    }
    let recent = state.now() - seconds(COUNTED_FOR);
    let counted = state.runners.values().filter(|runner| {
        let same_owner = runner.group_id == owner.0 && runner.project_ids.first() == owner.1.first();
        same_owner && (runner.created_at > recent || runner.contacted_at.is_some_and(|at| at > recent))
    });
    if counted.count() >= state.settings.runners_per_owner {
        let text = format!(
            "Maximum number of ci registered {} runners ({}) exceeded",
            if owner.0.is_some() { "group" } else { "project" },
            state.settings.runners_per_owner
        );
        return Err(ApiError::invalid(text));
    }
    Ok(owner)
}

/// `GET /runners/:id`.
pub(super) async fn show(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[Scope::Api, Scope::ReadApi, Scope::ManageRunner])?;
    let runner = readable(&call, &state, &caller)?;
    ok(&entities::runner_details(runner, state.now(), &state))
}

pub(super) async fn managers(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[Scope::Api, Scope::ReadApi, Scope::ManageRunner])?;
    let runner = readable(&call, &state, &caller)?;
    let now = state.now();
    let item = |manager| entities::manager_item(manager, now, &state);
    paged(&call, &state, runner.managers.values().map(item).collect())
}

/// `GET /runners/:id/jobs`: jobs that the runner was given.
pub(super) async fn jobs(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[Scope::Api, Scope::ReadApi, Scope::ManageRunner])?;
    let runner_id = readable(&call, &state, &caller)?.id;
    let status = call.params.text("status");
    let system_id = call.params.text("system_id");
    let given = state.jobs.values().filter(|job| {
        job.runner_id == Some(runner_id)
            && status.as_deref().is_none_or(|status| job.status.name() == status)
            && system_id.as_ref().is_none_or(|id| job.system_id.as_ref() == Some(id))
    });
    let mut items: Vec<Value> = given.map(|job| entities::job(&state, job)).collect();
    if call.params.text("sort").as_deref() != Some("asc") {
        items.reverse();
    }
    if call.params.text("pagination").as_deref() == Some("keyset") {
        return keyset(&call, &state, items);
    }
    paged(&call, &state, items)
}

/// `PUT /runners/:id`. `tag_list` replaces the set.
pub(super) async fn update(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = managed(&call, &mut state)?;
    if RunnerChange::is_empty(&call.params) {
        return Err(ApiError::parameter(
            "description, active, paused, tag_list, run_untagged, locked, access_level, maximum_timeout, \
             maintenance_note are missing, at least one parameter must be provided",
        ));
    }
    let change = RunnerChange::read(&call.params)?;
    let runner = state.runners.get_mut(&id).ok_or_else(|| ApiError::not_found("Runner"))?;
    change.apply(runner).map_err(|broken| as_object(&broken))?;
    tick_queue(&mut state, id);
    let runner = state.runners.get(&id).ok_or_else(|| ApiError::not_found("Runner"))?;
    ok(&entities::runner_details(runner, state.now(), &state))
}

pub(super) async fn delete(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = managed(&call, &mut state)?;
    let runner = state.runners.get(&id).ok_or_else(|| ApiError::not_found("Runner"))?;
    if runner.project_ids.len() > 1 {
        return Err(ApiError::forbidden_because("Runner associated with more than one project"));
    }
    let since = call.header("if-unmodified-since").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
    if since.is_some_and(|since| since.timestamp() < runner.created_at) {
        return Err(ApiError::with_status(StatusCode::PRECONDITION_FAILED, "Precondition Failed"));
    }
    state.runners.remove(&id);
    no_content()
}

/// `POST /runners/:id/reset_authentication_token`: the old token stops working at once.
pub(super) async fn reset_token_of(call: Call) -> Answer {
    let mut state = call.app.lock();
    let id = managed(&call, &mut state)?;
    created(&reset_token(&mut state, id))
}

/// `POST /projects/:id/runners`: gives a project runner to one more project.
pub(super) async fn assign(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.writer(&mut state)?;
    let project = call.project_as(&state, &caller.user, Level::Maintainer)?;
    let id = call.params.integer("runner_id")?.ok_or_else(|| ApiError::parameter("runner_id is missing"))?;
    let now = state.now();
    let runner = state.runners.get(&id).ok_or_else(|| ApiError::not_found("Runner"))?;
    if runner.kind != RunnerType::Project {
        return Err(ApiError::forbidden_because("Runner is a group or instance runner"));
    }
    if runner.locked {
        return Err(ApiError::forbidden_because("Runner is locked"));
    }
    if !may_manage(&state, &caller.user, runner) {
        return Err(ApiError::forbidden_because("No access granted"));
    }
    let runner = state.runners.get_mut(&id).ok_or_else(|| ApiError::not_found("Runner"))?;
    if !runner.project_ids.contains(&project.id) {
        runner.project_ids.push(project.id);
    }
    let runner = runner.clone();
    created(&entities::runner_item(&runner, now, &state))
}

pub(super) async fn unassign(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.caller(&mut state, &[Scope::Api, Scope::ManageRunner])?;
    let project = call.project_as(&state, &caller.user, Level::Maintainer)?;
    let runner = state.runners.get_mut(&call.id("runner_id")?);
    let runner = runner.filter(|runner| runner.project_ids.contains(&project.id));
    let runner = runner.ok_or_else(|| ApiError::not_found("Runner"))?;
    if runner.project_ids.first() == Some(&project.id) {
        let text = "Only one project associated with the runner. Please remove the runner instead";
        return Err(ApiError::forbidden_because(text));
    }
    runner.project_ids.retain(|id| *id != project.id);
    no_content()
}

/// Whether the user has the role for changing this runner: in one of its projects, its group, or everywhere.
pub(super) fn may_manage(state: &State, user: &User, runner: &Runner) -> bool {
    match runner.kind {
        RunnerType::Instance => user.admin,
        RunnerType::Group => {
            runner.group_id.is_some_and(|id| state.level_in_group(user, id) >= Some(Level::Owner))
        }
        RunnerType::Project => runner.project_ids.iter().any(|id| {
            let project = state.projects.get(id);
            project.is_some_and(|project| state.level_in_project(user, project) >= Some(Level::Maintainer))
        }),
    }
}

fn readable<'a>(call: &Call, state: &'a State, caller: &Caller) -> Result<&'a Runner, ApiError> {
    let runner = state.runners.get(&call.id("id")?).ok_or_else(|| ApiError::not_found("Runner"))?;
    if runner.kind != RunnerType::Instance && !may_manage(state, &caller.user, runner) {
        return Err(ApiError::forbidden_because("No access granted"));
    }
    Ok(runner)
}

fn managed(call: &Call, state: &mut State) -> Result<i64, ApiError> {
    let caller = call.caller(state, &[Scope::Api, Scope::ManageRunner])?;
    let runner = state.runners.get(&call.id("id")?).ok_or_else(|| ApiError::not_found("Runner"))?;
    if !may_manage(state, &caller.user, runner) {
        return Err(ApiError::forbidden_because("No access granted"));
    }
    Ok(runner.id)
}
