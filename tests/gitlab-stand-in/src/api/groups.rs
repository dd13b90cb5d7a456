//! Projects, groups and what they protect.

use serde_json::{Value, json};

use super::call::{Answer, Call, ok};
use super::entities;
use super::paging::paged;
use crate::model::{Level, Project};

pub(super) async fn project(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let limit = state.settings.project_per_minute;
    call.limit(&mut state, "project", &caller.user.username, limit)?;
    let project = call.project(&state, &caller.user)?;
    ok(&entities::project(&state, &project))
}

pub(super) async fn projects(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let search = call.params.text("search").unwrap_or_default();
    let membership = call.params.boolean("membership")?.unwrap_or(false);
    let visible = |project: &&Project| {
        let level = state.level_in_project(&caller.user, project);
        (level.is_some() || (project.public && !membership)) && project.full_path.contains(&search)
    };
    let found = state.projects.values().rev().filter(visible);
    paged(&call, &state, found.map(|project| entities::project(&state, project)).collect())
}

pub(super) async fn group(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let group = call.group(&state, &caller.user)?;
    let name = group.full_path.rsplit('/').next();
    ok(&json!({
        "id": group.id,
        "name": name,
        "path": name,
        "full_path": group.full_path,
        "full_name": group.full_path.replace('/', " / "),
        "parent_id": group.parent_id,
        "visibility": "private",
        "web_url": format!("{}/groups/{}", state.url, group.full_path),
    }))
}

/// `include_subgroups` and `simple` as with GitLab; nothing here is archived or shared.
pub(super) async fn group_projects(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let group = call.group(&state, &caller.user)?;
    let deep = call.params.boolean("include_subgroups")?.unwrap_or(false);
    let below = |project: &&Project| {
        let rest = project.full_path.strip_prefix(&group.full_path).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| deep || !rest.contains('/'))
    };
    let found = state.projects.values().filter(below);
    if call.params.boolean("simple")?.unwrap_or(false) {
        return paged(
            &call,
            &state,
            found.map(|project| entities::simple_project(&state, project)).collect(),
        );
    }
    paged(&call, &state, found.map(|project| entities::project(&state, project)).collect())
}

pub(super) async fn protected_branches(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    let project = call.project_as(&state, &caller.user, Level::Developer)?;
    let levels = json!([{ "access_level": 40, "access_level_description": "Maintainers" }]);
    let entry = |(index, name): (usize, &String)| {
        json!({
            "id": index + 1,
            "name": name,
            "push_access_levels": levels,
            "merge_access_levels": levels,
            "allow_force_push": false,
        })
    };
    let list: Vec<Value> = project.protected_refs.iter().enumerate().map(entry).collect();
    paged(&call, &state, list)
}

/// Protected refs of the stand-in protect branches and tags alike; the API shows them as branches.
pub(super) async fn protected_tags(call: Call) -> Answer {
    let mut state = call.app.lock();
    let caller = call.reader(&mut state)?;
    call.project_as(&state, &caller.user, Level::Developer)?;
    paged(&call, &state, Vec::new())
}
